#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json_fields.h"

namespace pinion::protocol {

/// A version of a resource: names and values as its type made them. Upstream: atc.Version.
using Version = std::map<std::string, std::string>;

struct MetadataField {
  std::string name;
  std::string value;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("name", self.name);
    visit("value", self.value);
  }
  friend bool operator==(const MetadataField&, const MetadataField&) = default;
};
using Metadata = std::vector<MetadataField>;

/// Limits of a container; absent means the worker's default. Memory in bytes, cpu in shares.
struct ContainerLimits {
  std::optional<std::int64_t> cpu;
  std::optional<std::int64_t> memory;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("cpu", self.cpu, kOmitEmpty);
    visit("memory", self.memory, kOmitEmpty);
  }
};

struct ImageResource {
  std::string name;
  std::string type;
  Json source;
  std::optional<Version> version;
  Json params;
  std::vector<std::string> tags;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("name", self.name);
    visit("type", self.type);
    visit("source", self.source);
    visit("version", self.version, kOmitEmpty);
    visit("params", self.params, kOmitEmpty);
    visit("tags", self.tags, kOmitEmpty);
  }
};

struct TaskRun {
  std::string path;
  std::vector<std::string> args;
  std::string dir;
  std::string user;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("path", self.path);
    visit("args", self.args, kOmitEmpty);
    visit("dir", self.dir, kOmitEmpty);
    visit("user", self.user, kOmitEmpty);
  }
};

struct TaskInput {
  std::string name;
  std::string path;
  bool optional = false;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("name", self.name);
    visit("path", self.path, kOmitEmpty);
    visit("optional", self.optional, kOmitEmpty);
  }
  /// Where it is mounted, below the working directory.
  const std::string& MountPath() const { return path.empty() ? name : path; }
};

struct TaskOutput {
  std::string name;
  std::string path;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("name", self.name);
    visit("path", self.path, kOmitEmpty);
  }
  const std::string& MountPath() const { return path.empty() ? name : path; }
};

struct TaskCache {
  std::string path;
  std::string ttl;  ///< Go duration, empty for the server's default
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("path", self.path, kOmitEmpty);
    visit("ttl", self.ttl, kOmitEmpty);
  }
};

/// A task: inline in a pipeline, in a file, or given to `fly execute`. Upstream: atc.TaskConfig.
struct TaskConfig {
  std::string platform;
  std::string rootfs_uri;
  std::optional<ImageResource> image_resource;
  std::optional<ContainerLimits> container_limits;
  std::map<std::string, std::string> params;
  TaskRun run;
  std::vector<TaskInput> inputs;
  std::vector<TaskOutput> outputs;
  std::vector<TaskCache> caches;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("platform", self.platform, kOmitEmpty);
    visit("rootfs_uri", self.rootfs_uri, kOmitEmpty);
    visit("image_resource", self.image_resource, kOmitEmpty);
    visit("container_limits", self.container_limits, kOmitEmpty);
    visit("params", self.params, kOmitEmpty);
    visit("run", self.run);
    visit("inputs", self.inputs, kOmitEmpty);
    visit("outputs", self.outputs, kOmitEmpty);
    visit("caches", self.caches, kOmitEmpty);
  }
};

/// A resource type of a pipeline as plans carry it. Upstream: atc.ResourceType.
struct ResourceType {
  std::string name;
  std::string type;
  Json source;
  Json defaults;
  bool privileged = false;
  std::string check_every;  ///< Go duration, "never", or empty
  std::vector<std::string> tags;
  Json params;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("name", self.name);
    visit("type", self.type);
    visit("source", self.source);
    visit("defaults", self.defaults, kOmitEmpty);
    visit("privileged", self.privileged, kOmitEmpty);
    visit("check_every", self.check_every, kOmitEmpty);
    visit("tags", self.tags, kOmitEmpty);
    visit("params", self.params, kOmitEmpty);
  }
};

}  // namespace pinion::protocol
