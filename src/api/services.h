#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "async/signal.h"
#include "async/task.h"
#include "async/timers.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/log.h"
#include "identity/password.h"
#include "protocol/versions.h"

namespace pinion {
class ThreadPool;
}
namespace pinion::store {
class Database;
}
namespace pinion::events {
class LogStore;
}
namespace pinion::fleet {
class InteractiveProcess;
}
namespace pinion::http {
class BodyReader;
}
namespace pinion::secrets {
class IdTokens;
}
namespace pinion::protocol::garden {
struct ProcessSpec;
}

/// What handlers need of the rest of the program. Other modules implement the interfaces, the
/// composition root wires them; each may be null, then its routes answer 503 with the reason.
namespace pinion::api {

/// The engine, as far as requests drive it. The database row is written by the handler; these make
/// the engine look at once. On the loop's thread; they do not wait.
class BuildControl {
 public:
  virtual ~BuildControl() = default;
  /// The build was marked as aborted.
  virtual void Aborted(BuildId build) = 0;
  /// The build was created with a plan and may be started.
  virtual void Created(BuildId build) = 0;
};

struct CheckRequest {
  PipelineId pipeline;
  ResourceId resource;  ///< one of the two
  ResourceTypeId resource_type;
  std::optional<std::string> from_version;  ///< JSON
  /// Without it, the types that the resource is made of are checked too.
  bool shallow = false;
  std::string created_by;
};
class CheckControl {
 public:
  virtual ~CheckControl() = default;
  /// Creates the build of a check that was asked for and starts it. kNotFound, kConflict, kInvalid.
  virtual Task<Result<BuildId>> CheckNow(CheckRequest request) = 0;
};

class ScheduleControl {
 public:
  virtual ~ScheduleControl() = default;
  /// Look at this job now. Does not wait.
  virtual void JobChanged(JobId job) = 0;
};

class HijackControl {
 public:
  virtual ~HijackControl() = default;
  /// Starts a process in the container. kNotFound when the container or the executable is missing:
  /// the message says which, and `executable_missing` is set for the latter.
  virtual Task<Result<std::unique_ptr<fleet::InteractiveProcess>>> Start(
      std::string worker, std::string container, protocol::garden::ProcessSpec spec,
      bool& executable_missing, std::stop_token stop) = 0;
};

class VolumeStreams {
 public:
  virtual ~VolumeStreams() = default;
  struct Place {
    std::string worker;
    std::string volume;
  };
  /// Makes a volume on a worker of that platform and tags for the team and fills it with a tar
  /// stream (gzip). Its row is still that of one being made: who writes down whose it is calls
  /// SetVolumeCreated, or it is collected soon. kUnavailable when no worker fits.
  virtual Task<Result<Place>> Upload(TeamId team, std::string platform,
                                     std::vector<std::string> tags, http::BodyReader& tar,
                                     std::stop_token stop) = 0;
  /// The volume's content as a gzip tar stream. kNotFound when it is gone.
  virtual Task<Result<std::unique_ptr<http::BodyReader>>> Download(Place place,
                                                                   std::stop_token stop) = 0;
};

/// Wakes pages that are open when something changed: they ask again then, and never in between. On
/// the loop's thread.
class ChangeNotice {
 public:
  void Notify() {
    ++count_;
    const auto event = std::exchange(event_, std::make_shared<Event>());
    event->Set();
  }
  /// How often Notify() was called.
  std::int64_t count() const { return count_; }
  /// Returns the count once it is not `seen` any more: what was told between two waits is not
  /// missed. Throws Cancelled on stop.
  Task<std::int64_t> Next(std::int64_t seen, std::stop_token stop) {
    const auto event = event_;
    if (count_ == seen) co_await event->Wait(std::move(stop));
    co_return count_;
  }

 private:
  std::int64_t count_ = 0;
  std::shared_ptr<Event> event_ = std::make_shared<Event>();
};

/// Settings that answers depend on. Constant while the server runs.
struct ApiSettings {
  std::string external_url = "http://127.0.0.1:8080";  ///< without a slash at the end
  std::string cluster_name;
  std::string worker_version = std::string(protocol::kWorkerVersion);
  bool secure_cookies = false;  ///< --cookie-secure or an https external URL
  Duration token_lifetime = std::chrono::hours(24);
  Duration hijack_idle_timeout{0};  ///< 0: none
  bool resource_causality = false;
  bool global_resources = true;
  std::string x_frame_options = "deny";
  std::string content_security_policy = "frame-ancestors 'none'";
  std::string strict_transport_security;
  std::string client_id = "concourse-web";
  /// Clients that may ask for system tokens (worker gateways), by id: secret.
  std::vector<std::pair<std::string, std::string>> system_clients;
  std::size_t config_bytes_max = 32 << 20;
  std::size_t body_bytes_max = 8 << 20;
};

struct Services {
  store::Database& database;
  const Clock& clock;
  Timers& timers;
  Executor executor;
  Logger log;
  ApiSettings settings;
  const identity::LocalUsers& local_users;
  events::LogStore* logs = nullptr;
  BuildControl* builds = nullptr;
  CheckControl* checks = nullptr;
  ScheduleControl* scheduling = nullptr;
  HijackControl* hijack = nullptr;
  VolumeStreams* volumes = nullptr;
  ChangeNotice* changes = nullptr;
  secrets::IdTokens* id_tokens = nullptr;
  ThreadPool* files = nullptr;  ///< reads files of this server
};

}  // namespace pinion::api
