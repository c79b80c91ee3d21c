#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json_fields.h"

/// The Baggageclaim API: what a web node asks of a worker about volumes.
namespace pinion::protocol::baggageclaim {

/// POST /volumes-async. Strategies:
///   {"type":"empty"}
///   {"type":"cow","volume":HANDLE}
///   {"type":"import","path":PATH,"follow_symlinks":BOOL}
/// and Pinion's own, announced by GET /ping-style capability "registry_image" (docs/protocols):
///   {"type":"registry-image","source":{…},"params":{…},"version":{"tag":…,"digest":…}}
/// which pulls an image into layers shared by digest and makes a volume in upstream's layout
/// (rootfs/, metadata.json, repository, tag, digest).
struct VolumeRequest {
  std::string handle;
  Json strategy;
  std::map<std::string, std::string> properties;
  bool privileged = false;
  /// Whom all that is in the volume belongs to, as ids inside a container. When absent, content
  /// stays whose it is and the root folder is root's.
  std::optional<std::int64_t> uid;
  std::optional<std::int64_t> gid;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("handle", self.handle);
    visit("strategy", self.strategy);
    visit("properties", self.properties);
    visit("privileged", self.privileged, kOmitEmpty);
    visit("uid", self.uid, kOmitEmpty);
    visit("gid", self.gid, kOmitEmpty);
  }
};

/// POST /volumes-async with this header waits up to a second: if the volume is there by then, it
/// is the answer and nothing is left to ask for or to end. Upstream's servers pass over it.
inline constexpr std::string_view kWaitHeader = "X-Pinion-Wait";

struct Volume {
  std::string handle;
  std::string path;
  std::map<std::string, std::string> properties;
  bool privileged = false;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("handle", self.handle);
    visit("path", self.path);
    visit("properties", self.properties);
    visit("privileged", self.privileged);
  }
};

/// The file system that volumes lie on, as GET /disk tells: Pinion's own workers have that.
struct Disk {
  std::int64_t total_bytes = 0;
  std::int64_t available_bytes = 0;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("total_bytes", self.total_bytes);
    visit("available_bytes", self.available_bytes);
  }
};

}  // namespace pinion::protocol::baggageclaim
