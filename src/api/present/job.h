#pragma once

#include <optional>
#include <string>
#include <vector>

#include "api/present/build.h"

namespace pinion::api::present {

struct JobInput {
  std::string name;
  std::string resource;
  bool trigger = false;
  std::vector<std::string> passed;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("name", self.name);
    visit("resource", self.resource);
    visit("trigger", self.trigger);
    visit("passed", self.passed, kOmitEmpty);
  }
};

/// The same in lists.
struct JobInputSummary {
  std::string name;
  std::string resource;
  std::vector<std::string> passed;
  bool trigger = false;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("name", self.name);
    visit("resource", self.resource);
    visit("passed", self.passed, kOmitEmpty);
    visit("trigger", self.trigger, kOmitEmpty);
  }
};

struct JobOutput {
  std::string name;
  std::string resource;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("name", self.name);
    visit("resource", self.resource);
  }
};

/// What is told of a job wherever it is.
struct JobHead {
  std::int64_t id = 0;
  std::string name;
  std::string team_name;
  std::int64_t pipeline_id = 0;
  std::string pipeline_name;
  Json pipeline_instance_vars;
  bool paused = false;
  std::string paused_by;
  std::int64_t paused_at = 0;
  bool has_new_inputs = false;
  std::vector<std::string> groups;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("id", self.id);
    visit("name", self.name);
    visit("team_name", self.team_name);
    visit("pipeline_id", self.pipeline_id);
    visit("pipeline_name", self.pipeline_name);
    visit("pipeline_instance_vars", self.pipeline_instance_vars, kOmitEmpty);
    visit("paused", self.paused, kOmitEmpty);
    visit("paused_by", self.paused_by, kOmitEmpty);
    visit("paused_at", self.paused_at, kOmitEmpty);
    visit("has_new_inputs", self.has_new_inputs, kOmitEmpty);
    visit("groups", self.groups, kOmitEmpty);
  }
};

struct Job : JobHead {
  bool disable_manual_trigger = false;
  bool disable_reruns = false;
  std::optional<Build> next_build;
  std::optional<Build> finished_build;
  std::vector<JobInput> inputs;
  std::vector<JobOutput> outputs;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    JobHead::Fields(self, visit);
    visit("disable_manual_trigger", self.disable_manual_trigger, kOmitEmpty);
    visit("disable_reruns", self.disable_reruns, kOmitEmpty);
    visit("next_build", self.next_build);
    visit("finished_build", self.finished_build);
    visit("inputs", self.inputs, kOmitEmpty);
    visit("outputs", self.outputs, kOmitEmpty);
  }
};

struct JobSummary : JobHead {
  std::optional<BuildSummary> finished_build;
  std::optional<BuildSummary> next_build;
  std::optional<BuildSummary> transition_build;
  std::vector<JobInputSummary> inputs;
  std::vector<JobOutput> outputs;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    JobHead::Fields(self, visit);
    visit("finished_build", self.finished_build, kOmitEmpty);
    visit("next_build", self.next_build, kOmitEmpty);
    visit("transition_build", self.transition_build, kOmitEmpty);
    visit("inputs", self.inputs, kOmitEmpty);
    visit("outputs", self.outputs, kOmitEmpty);
  }
};

/// What the next build of a job would take, with how to fetch it.
struct NextInput {
  std::string name;
  std::string resource;
  std::string type;
  Json source;
  Json params;
  Json version;
  Json tags;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("name", self.name);
    visit("resource", self.resource);
    visit("type", self.type);
    visit("source", self.source);
    visit("params", self.params, kOmitEmpty);
    visit("version", self.version);
    visit("tags", self.tags, kOmitEmpty);
  }
};

}  // namespace pinion::api::present
