#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json_fields.h"

namespace pinion::api::present {

struct RerunOfBuild {
  std::int64_t id = 0;
  std::string name;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("id", self.id, kOmitEmpty);
    visit("name", self.name, kOmitEmpty);
  }
};

struct Build {
  std::int64_t id = 0;
  std::string team_name;
  std::string name;
  std::string status;
  std::string api_url;
  std::string comment;
  std::string job_name;
  std::string resource_name;
  std::int64_t pipeline_id = 0;
  std::string pipeline_name;
  Json pipeline_instance_vars;
  std::int64_t start_time = 0;
  std::int64_t end_time = 0;
  std::int64_t reap_time = 0;
  std::int64_t rerun_number = 0;
  std::optional<RerunOfBuild> rerun_of;
  std::optional<std::string> created_by;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("id", self.id);
    visit("team_name", self.team_name);
    visit("name", self.name);
    visit("status", self.status);
    visit("api_url", self.api_url);
    visit("comment", self.comment, kOmitEmpty);
    visit("job_name", self.job_name, kOmitEmpty);
    visit("resource_name", self.resource_name, kOmitEmpty);
    visit("pipeline_id", self.pipeline_id, kOmitEmpty);
    visit("pipeline_name", self.pipeline_name, kOmitEmpty);
    visit("pipeline_instance_vars", self.pipeline_instance_vars, kOmitEmpty);
    visit("start_time", self.start_time, kOmitEmpty);
    visit("end_time", self.end_time, kOmitEmpty);
    visit("reap_time", self.reap_time, kOmitEmpty);
    visit("rerun_number", self.rerun_number, kOmitEmpty);
    visit("rerun_of", self.rerun_of, kOmitEmpty);
    visit("created_by", self.created_by, kOmitEmpty);
  }
};

/// The short form inside jobs and resources.
struct BuildSummary {
  std::int64_t id = 0;
  std::string name;
  std::string status;
  std::int64_t start_time = 0;
  std::int64_t end_time = 0;
  std::string team_name;
  std::int64_t pipeline_id = 0;
  std::string pipeline_name;
  Json pipeline_instance_vars;
  std::string job_name;
  Json plan;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("id", self.id);
    visit("name", self.name);
    visit("status", self.status);
    visit("start_time", self.start_time, kOmitEmpty);
    visit("end_time", self.end_time, kOmitEmpty);
    visit("team_name", self.team_name);
    visit("pipeline_id", self.pipeline_id);
    visit("pipeline_name", self.pipeline_name);
    visit("pipeline_instance_vars", self.pipeline_instance_vars, kOmitEmpty);
    visit("job_name", self.job_name, kOmitEmpty);
    visit("plan", self.plan, kOmitEmpty);
  }
};

struct BuildPreparation {
  std::int64_t build_id = 0;
  std::string paused_pipeline;
  std::string paused_job;
  std::string max_running_builds;
  std::map<std::string, std::string> inputs;
  std::string inputs_satisfied;
  std::map<std::string, std::string> missing_input_reasons;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("build_id", self.build_id);
    visit("paused_pipeline", self.paused_pipeline);
    visit("paused_job", self.paused_job);
    visit("max_running_builds", self.max_running_builds);
    visit("inputs", self.inputs);
    visit("inputs_satisfied", self.inputs_satisfied);
    visit("missing_input_reasons", self.missing_input_reasons);
  }
};

struct BuildInput {
  std::string name;
  Json version;
  std::int64_t pipeline_id = 0;
  bool first_occurrence = false;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("name", self.name);
    visit("version", self.version);
    visit("pipeline_id", self.pipeline_id);
    visit("first_occurrence", self.first_occurrence);
  }
};

struct BuildOutput {
  std::string name;
  Json version;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("name", self.name);
    visit("version", self.version);
  }
};

struct BuildResources {
  std::vector<BuildInput> inputs;
  std::vector<BuildOutput> outputs;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("inputs", self.inputs);
    visit("outputs", self.outputs);
  }
};

}  // namespace pinion::api::present
