#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_fields.h"
#include "store/database.h"

/// Containers as rows. A row is written before the container is made on its worker and deleted
/// after it is gone there, so that whatever a crash leaves is found. Every function works inside
/// the caller's transaction and may be run again.
namespace pinion::store {

enum class ResidentState { kCreating, kCreated, kDestroying };
std::string_view Name(ResidentState state);

/// What the API tells about a container beside its row: names as they were when it was made.
struct ContainerMetadata {
  std::int64_t pipeline_id = 0;
  std::string pipeline_name;
  Json pipeline_instance_vars;
  std::int64_t job_id = 0;
  std::string job_name;
  std::string build_name;
  std::string user;
  std::string working_directory;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("pipeline_id", self.pipeline_id, kOmitEmpty);
    visit("pipeline_name", self.pipeline_name, kOmitEmpty);
    visit("pipeline_instance_vars", self.pipeline_instance_vars, kOmitEmpty);
    visit("job_id", self.job_id, kOmitEmpty);
    visit("job_name", self.job_name, kOmitEmpty);
    visit("build_name", self.build_name, kOmitEmpty);
    visit("user", self.user, kOmitEmpty);
    visit("working_directory", self.working_directory, kOmitEmpty);
  }
};

struct ContainerRow {
  std::string handle;
  std::string worker_name;
  TeamId team;
  BuildId build;  ///< of a build's step, or
  ScopeId scope;  ///< of a scope's check
  std::string plan_id;
  std::string step_name;
  std::string type;     ///< get, put, task, check, run
  std::string attempt;  ///< "1.2", outermost retry first; "" outside of retries
  ResidentState state = ResidentState::kCreating;
  std::int64_t created_at = 0;
  std::optional<std::int64_t> missing_since;
  std::optional<std::int64_t> hijacked_at;
  ContainerMetadata metadata;
};

/// Writes the row, state creating. If the handle is known already, that row is returned as it is:
/// the container was begun by a former process, perhaps on another worker than asked for now.
ContainerRow CreateContainer(Transaction& transaction, const ContainerRow& container);
/// False if it is gone or being destroyed: then the caller must not use it.
bool SetContainerCreated(Transaction& transaction, std::string_view handle);
/// It will be collected. False if there is none.
bool SetContainerDestroying(Transaction& transaction, std::string_view handle);
/// Somebody is in it: it stays for a while. False if it is gone or being destroyed.
bool SetContainerHijacked(Transaction& transaction, std::string_view handle);
/// It is gone on the worker. Its volumes become orphans.
void DeleteContainer(Transaction& transaction, std::string_view handle);

std::optional<ContainerRow> FindContainer(Transaction& transaction, std::string_view handle);
/// Of one step; those being destroyed are left out.
std::optional<ContainerRow> FindStepContainer(Transaction& transaction, BuildId build,
                                              std::string_view plan_id, std::string_view attempt);
std::vector<ContainerRow> ListBuildContainers(Transaction& transaction, BuildId build);
/// For the API: by team and handle; those being destroyed are in it. 0: all teams'.
std::vector<ContainerRow> ListContainers(Transaction& transaction, TeamId team);

/// What the handles of a check's containers start with. It names the lease's epoch under which they
/// are made: when no lease has it any more, nobody follows the check.
std::string CheckHandlePrefix(ScopeId scope, std::int64_t epoch, std::uint64_t number);

/// What a worker says it has. Rows whose container it lacks are marked missing, unless they were
/// made after `asked_at` (unix seconds, when the worker was asked); containers without a row get
/// one that is being destroyed. How many of those.
int ReportContainers(Transaction& transaction, std::string_view worker,
                     const std::vector<std::string>& handles, std::int64_t asked_at,
                     const std::vector<std::string>& ignored = {});

struct ContainerRetention {
  std::int64_t hijacked_seconds = 300;  ///< after the last hijack
  std::int64_t one_off_seconds = 300;   ///< after the end of a build without a job
  std::int64_t failed_seconds =
      0;  ///< after the end of a job's failed build; 0: until its next ends
  std::int64_t missing_seconds = 300;  ///< not seen on a worker that is there
};
/// Marks what nobody needs any more as being destroyed:
/// - of builds that ended: succeeded ones at once; of a job's others when a newer one has ended;
/// - of nobody: neither build nor scope;
/// - of checks whose process has lost its lease or died.
/// Deletes the rows of containers that are missing for too long on workers that answer. How many in
/// all.
int MarkUnneededContainers(Transaction& transaction, const ContainerRetention& retention);

/// Something that must be destroyed on its worker.
struct Doomed {
  std::string worker_name;
  std::string handle;
  friend auto operator<=>(const Doomed&, const Doomed&) = default;
};
/// Oldest first, at most `limit` of each worker. Those of stalled and landed workers are left out:
/// nobody can reach them.
std::vector<Doomed> ListDoomedContainers(Transaction& transaction, int limit = 1000);
/// Of one worker, for workers that collect by themselves.
std::vector<std::string> ListDestroyingContainers(Transaction& transaction,
                                                  std::string_view worker);

}  // namespace pinion::store
