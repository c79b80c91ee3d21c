#pragma once

#include <string>

#include "base/json_fields.h"

namespace pinion::api::present {

struct Container {
  std::string id;
  std::string worker_name;
  std::string state;
  std::string type;
  std::string step_name;
  std::string attempt;
  std::int64_t pipeline_id = 0;
  std::int64_t job_id = 0;
  std::int64_t build_id = 0;
  std::string pipeline_name;
  Json pipeline_instance_vars;
  std::string job_name;
  std::string build_name;
  std::string user;
  std::string working_directory;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("id", self.id);
    visit("worker_name", self.worker_name);
    visit("state", self.state, kOmitEmpty);
    visit("type", self.type, kOmitEmpty);
    visit("step_name", self.step_name, kOmitEmpty);
    visit("attempt", self.attempt, kOmitEmpty);
    visit("pipeline_id", self.pipeline_id, kOmitEmpty);
    visit("job_id", self.job_id, kOmitEmpty);
    visit("build_id", self.build_id, kOmitEmpty);
    visit("pipeline_name", self.pipeline_name, kOmitEmpty);
    visit("pipeline_instance_vars", self.pipeline_instance_vars, kOmitEmpty);
    visit("job_name", self.job_name, kOmitEmpty);
    visit("build_name", self.build_name, kOmitEmpty);
    visit("user", self.user, kOmitEmpty);
    visit("working_directory", self.working_directory, kOmitEmpty);
  }
};

struct Volume {
  std::string id;
  std::string worker_name;
  std::string type;
  std::string container_handle;
  std::string path;
  std::string parent_handle;
  Json resource_type;
  Json base_resource_type;
  std::int64_t pipeline_id = 0;
  std::string pipeline_name;
  Json pipeline_instance_vars;
  std::string job_name;
  std::string step_name;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("id", self.id);
    visit("worker_name", self.worker_name);
    visit("type", self.type);
    visit("container_handle", self.container_handle);
    visit("path", self.path);
    visit("parent_handle", self.parent_handle);
    visit("resource_type", self.resource_type);
    visit("base_resource_type", self.base_resource_type);
    visit("pipeline_id", self.pipeline_id);
    visit("pipeline_name", self.pipeline_name);
    visit("pipeline_instance_vars", self.pipeline_instance_vars);
    visit("job_name", self.job_name);
    visit("step_name", self.step_name);
  }
};

}  // namespace pinion::api::present
