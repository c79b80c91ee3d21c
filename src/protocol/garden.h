#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json_fields.h"

/// The Garden API: what a web node asks of a worker about containers and processes. The shapes are
/// those of upstream's worker and web, so that either side can be swapped.
namespace pinion::protocol::garden {

struct BindMount {
  std::string src_path;
  std::string dst_path;
  int mode = 0;    ///< 0 read-only, 1 read-write
  int origin = 0;  ///< 0 host
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("src_path", self.src_path, kOmitEmpty);
    visit("dst_path", self.dst_path, kOmitEmpty);
    visit("mode", self.mode, kOmitEmpty);
    visit("origin", self.origin, kOmitEmpty);
  }
};

struct CpuLimits {
  std::uint32_t weight = 0;
  std::uint32_t limit_in_shares = 0;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("weight", self.weight, kOmitEmpty);
    visit("limit_in_shares", self.limit_in_shares, kOmitEmpty);
  }
};

struct MemoryLimits {
  std::int64_t limit_in_bytes = 0;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("limit_in_bytes", self.limit_in_bytes, kOmitEmpty);
  }
};

struct PidLimits {
  std::int64_t max = 0;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("max", self.max, kOmitEmpty);
  }
};

struct Limits {
  CpuLimits cpu_limits;
  MemoryLimits memory_limits;
  PidLimits pid_limits;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("cpu_limits", self.cpu_limits);
    visit("memory_limits", self.memory_limits);
    visit("pid_limits", self.pid_limits);
  }
};

struct ImageRef {
  std::string uri;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("uri", self.uri, kOmitEmpty);
  }
};

/// POST /containers. The handle is derived from build, step and attempt, so that creating one twice
/// is attaching to it.
struct ContainerSpec {
  std::string handle;
  std::int64_t grace_time = 0;  ///< nanoseconds
  std::string rootfs;           ///< raw://FOLDER
  ImageRef image;
  std::vector<BindMount> bind_mounts;
  std::map<std::string, std::string> properties;  ///< "user" is the image's user
  std::vector<std::string> env;
  bool privileged = false;
  Limits limits;
  std::vector<Json> netout_rules;  ///< none: no network (hermetic)
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("handle", self.handle, kOmitEmpty);
    visit("grace_time", self.grace_time, kOmitEmpty);
    visit("rootfs", self.rootfs, kOmitEmpty);
    visit("image", self.image);
    visit("bind_mounts", self.bind_mounts, kOmitEmpty);
    visit("properties", self.properties, kOmitEmpty);
    visit("env", self.env, kOmitEmpty);
    visit("privileged", self.privileged, kOmitEmpty);
    visit("limits", self.limits);
    visit("netout_rules", self.netout_rules, kOmitEmpty);
  }
};

struct WindowSize {
  int columns = 0;
  int rows = 0;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("columns", self.columns, kOmitEmpty);
    visit("rows", self.rows, kOmitEmpty);
  }
};

struct Tty {
  std::optional<WindowSize> window_size;
  /// Output stays as the program wrote it, no carriage return before each line's end; nothing is
  /// echoed. Pinion's extension: other workers do not know it.
  bool verbatim = false;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("window_size", self.window_size, kOmitEmpty);
    visit("verbatim", self.verbatim, kOmitEmpty);
  }
};

/// POST /containers/:handle/processes.
struct ProcessSpec {
  std::string id;
  std::string path;
  std::vector<std::string> args;
  std::vector<std::string> env;
  std::string dir;
  std::string user;
  std::optional<Tty> tty;
  /// Part of the extension: all of its input, which is there when it starts. Nothing else is taken.
  std::optional<std::string> input;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("id", self.id, kOmitEmpty);
    visit("path", self.path, kOmitEmpty);
    visit("args", self.args, kOmitEmpty);
    visit("env", self.env, kOmitEmpty);
    visit("dir", self.dir, kOmitEmpty);
    visit("user", self.user, kOmitEmpty);
    visit("tty", self.tty, kOmitEmpty);
    visit("pinion_input", self.input, kOmitEmpty);
  }
};

/// One line on a hijacked process stream, either way.
struct ProcessPayload {
  std::string process_id;
  std::string stream_id;
  std::optional<int> source;  ///< 0 stdin, 1 stdout, 2 stderr
  std::optional<std::string> data;
  std::optional<int> exit_status;
  std::optional<std::string> error;
  std::optional<Tty> tty;
  std::optional<int> signal;  ///< 0 terminate, 1 kill
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("process_id", self.process_id, kOmitEmpty);
    visit("stream_id", self.stream_id, kOmitEmpty);
    visit("source", self.source, kOmitEmpty);
    visit("data", self.data, kOmitEmpty);
    visit("exit_status", self.exit_status, kOmitEmpty);
    visit("error", self.error, kOmitEmpty);
    visit("tty", self.tty, kOmitEmpty);
    visit("signal", self.signal, kOmitEmpty);
  }
};

/// The body of every failing answer; `Type` tells what the caller can do about it.
struct ErrorBody {
  std::string
      type;  ///< "", ContainerNotFoundError, ProcessNotFoundError, ExecutableNotFoundError, …
  std::string message;
  std::string handle;
  std::string process_id;
  std::string binary;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("Type", self.type);
    visit("Message", self.message);
    visit("Handle", self.handle);
    visit("ProcessID", self.process_id);
    visit("Binary", self.binary);
  }
};

// --- Pinion's extension of attach (docs/protocols/garden-extension.md)
// ------------------------------
//
// A worker that can do it answers GET /ping with {"pinion": {"log_offsets": true}}. Then
//   GET /containers/:handle/processes/:pid/log?stdout=N&stderr=M
// streams frames from those byte offsets on, until the process has ended and all was sent:
//   u8 source (1 stdout, 2 stderr, 3 exit) | u64 offset, big endian | u32 length, big endian |
//   bytes
// `offset` is where the bytes stand in that stream since the process started. An exit frame's bytes
// are {"exit_status":N} or {"error":"…"}. Bytes below an offset that was given as
// X-Pinion-Acknowledged-Stdout / -Stderr may be thrown away by the worker.
// Header X-Pinion-Epoch on every call carries the owner's lease epoch: a call with a lower epoch
// than the highest seen for that container answers 409. Upstream peers have none of this: Attach
// streams from "now", what was printed meanwhile is lost, as it is between upstream's own web and
// worker.
inline constexpr std::size_t kLogFrameHeaderBytes = 13;
enum class LogFrameSource : std::uint8_t { kStdout = 1, kStderr = 2, kExit = 3 };
inline constexpr std::string_view kEpochHeader = "X-Pinion-Epoch";
/// POST …/processes with this header starts nothing if a process of that id runs or has run: 409.
inline constexpr std::string_view kOnceHeader = "X-Pinion-Once";

/// A property of the container that web nodes set when its process has ended (upstream's name).
inline constexpr std::string_view kExitStatusProperty = "concourse:exit-status";

}  // namespace pinion::protocol::garden
