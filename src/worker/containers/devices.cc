#include "worker/containers/devices.h"

#include <sys/stat.h>

#include <optional>

namespace pinion::worker {
namespace {

constexpr int kFuseMajor = 10;
constexpr int kFuseMinor = 229;

Json Allow(std::string type, std::optional<int> major, std::optional<int> minor,
           std::string access) {
  JsonObject rule{{"allow", true}, {"type", std::move(type)}, {"access", std::move(access)}};
  if (major) rule.Set("major", *major);
  if (minor) rule.Set("minor", *minor);
  return rule;
}

}  // namespace

Json DeviceRules(bool privileged) {
  if (privileged) return JsonArray{JsonObject{{"allow", true}, {"access", "rwm"}}};
  return JsonArray{JsonObject{{"allow", false}, {"access", "rwm"}},
                   Allow("c", std::nullopt, std::nullopt, "m"),
                   Allow("b", std::nullopt, std::nullopt, "m"),
                   Allow("c", 1, 3, "rwm"),
                   Allow("c", 1, 5, "rwm"),
                   Allow("c", 1, 7, "rwm"),
                   Allow("c", 1, 8, "rwm"),
                   Allow("c", 1, 9, "rwm"),
                   Allow("c", 5, 0, "rwm"),
                   Allow("c", 5, 2, "rwm"),
                   Allow("c", 136, std::nullopt, "rwm"),
                   Allow("c", kFuseMajor, kFuseMinor, "rwm")};
}

Json DeviceNodes(bool privileged) {
  struct stat status{};
  if (!privileged || ::stat("/dev/fuse", &status) != 0) return JsonArray{};
  return JsonArray{JsonObject{{"path", "/dev/fuse"},
                              {"type", "c"},
                              {"major", kFuseMajor},
                              {"minor", kFuseMinor},
                              {"fileMode", 0666}}};
}

}  // namespace pinion::worker
