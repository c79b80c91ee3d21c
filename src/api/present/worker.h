#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json_fields.h"
#include "store/workers.h"

namespace pinion::api::present {

struct Worker {
  std::string addr;
  std::string baggageclaim_url;
  std::string http_proxy_url;
  std::string https_proxy_url;
  std::string no_proxy;
  std::int64_t active_containers = 0;
  std::int64_t active_volumes = 0;
  std::int64_t active_tasks = 0;
  std::int64_t max_active_tasks = 0;
  std::optional<std::vector<store::WorkerResourceType>> resource_types;
  std::string platform;
  std::optional<std::vector<std::string>> tags;
  std::string team;
  std::string name;
  std::string version;
  std::int64_t start_time = 0;
  bool ephemeral = false;
  std::string state;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("addr", self.addr);
    visit("baggageclaim_url", self.baggageclaim_url);
    visit("http_proxy_url", self.http_proxy_url, kOmitEmpty);
    visit("https_proxy_url", self.https_proxy_url, kOmitEmpty);
    visit("no_proxy", self.no_proxy, kOmitEmpty);
    visit("active_containers", self.active_containers);
    visit("active_volumes", self.active_volumes);
    visit("active_tasks", self.active_tasks);
    visit("max_active_tasks", self.max_active_tasks);
    visit("resource_types", self.resource_types);
    visit("platform", self.platform);
    visit("tags", self.tags);
    visit("team", self.team);
    visit("name", self.name);
    visit("version", self.version);
    visit("start_time", self.start_time);
    visit("ephemeral", self.ephemeral);
    visit("state", self.state);
  }
};

Worker ToWorker(const store::WorkerRow& row);

}  // namespace pinion::api::present
