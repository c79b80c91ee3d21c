#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/ids.h"
#include "protocol/task_config.h"

/// Which versions the next build of a job takes. Pure: everything it knows comes through
/// VersionsSource, so that it is tested without a database. The rules are upstream's, down to the
/// order in which candidates are tried: where several answers satisfy the constraints, both give
/// the same.
namespace pinion::scheduling {

/// One version of one resource.
struct ResourceVersion {
  ResourceId resource;
  VersionId version;
  friend auto operator<=>(const ResourceVersion&, const ResourceVersion&) = default;
};

/// A succeeded build's place among those of its job: reruns stand directly after what they repeat.
struct BuildCursor {
  BuildId build;
  BuildId rerun_of;
  BuildId group() const { return rerun_of ? rerun_of : build; }
  /// In the order of history.
  friend bool operator<(const BuildCursor& a, const BuildCursor& b) {
    return a.group() != b.group() ? a.group() < b.group() : a.build < b.build;
  }
  friend bool operator==(const BuildCursor&, const BuildCursor&) = default;
};

/// What the resolution asks. Implementations may read ahead and remember: nothing changes while one
/// resolution lasts.
class VersionsSource {
 public:
  virtual ~VersionsSource() = default;

  /// The newest version that is not disabled for the resource.
  virtual std::optional<VersionId> LatestVersion(ResourceId resource) = 0;
  /// The version that a pin names; disabled ones too.
  virtual std::optional<VersionId> FindPinned(ResourceId resource,
                                              const protocol::Version& version) = 0;
  virtual bool IsDisabled(ResourceVersion version) = 0;
  /// Whether the version is in the resource's history: not if its source was changed since.
  virtual bool Exists(ResourceVersion version) = 0;

  struct NextVersion {
    VersionId version;
    bool has_next = false;  ///< yet another waits behind it
  };
  /// The first version after the newest that any build of the job had as an input; the newest
  /// before, if there is none after; the newest of all if the job never had one. Disabled ones are
  /// passed over.
  virtual std::optional<NextVersion> NextEveryVersion(JobId job, ResourceId resource) = 0;
  /// Whether no build of the job, pending ones included, had this version under this input's name.
  virtual bool IsFirstOccurrence(JobId job, const std::string& input, ResourceVersion version) = 0;

  /// The newest build of the job that had the newest version that the job ever had of the resource.
  virtual std::optional<BuildId> LatestBuildUsingLatestVersion(JobId job, ResourceId resource) = 0;
  /// Which builds of passed jobs vouched for the build's inputs, the newest for each job.
  virtual std::map<JobId, BuildCursor> Pipes(BuildId build) = 0;

  /// What a succeeded build had, by resource; of one resource, what it put before what it got.
  virtual const std::vector<ResourceVersion>& Outputs(BuildId build) = 0;
  /// Succeeded builds of the job, newest first, at most `limit`: before the cursor, or from it on
  /// with `inclusive`; from the newest without one. With `having`, only those with that version
  /// among their outputs.
  virtual std::vector<BuildCursor> SucceededBuilds(JobId job, std::optional<BuildCursor> before,
                                                   bool inclusive,
                                                   std::optional<ResourceVersion> having,
                                                   std::size_t limit) = 0;
  /// Succeeded builds after the cursor, oldest first. Reruns of the cursor's own build do not count
  /// unless it is one of them.
  virtual std::vector<BuildCursor> NewerBuilds(JobId job, BuildCursor cursor) = 0;
};

/// What a get step asks for.
struct InputConfig {
  std::string name;
  ResourceId resource;
  JobId job;  ///< whose input it is
  std::set<JobId> passed;
  bool every = false;
  std::optional<protocol::Version> pinned;  ///< by the step, else by the resource
  bool trigger = false;
};

/// What was found for one input.
struct ResolvedInput {
  ResourceId resource;
  VersionId version;  ///< 0 when there is an error
  bool first_occurrence = false;
  std::vector<BuildId> sources;  ///< builds of passed jobs that vouched for it
  std::string error;             ///< upstream's words, shown to users
};

struct Resolution {
  std::map<std::string, ResolvedInput> inputs;
  bool resolved = true;   ///< every input has a version
  bool has_next = false;  ///< `every` has more versions: run again after this one
};

struct ResolutionLimits {
  /// Builds of passed jobs that one group of inputs tries before it gives up with an error that
  /// says so: combinations multiply.
  std::size_t builds = 100'000;
  std::size_t page = 100;
};

inline constexpr char kLatestVersionNotFound[] = "latest version of resource not found";
inline constexpr char kVersionNotFound[] = "version of resource not found";
inline constexpr char kNoSatisfiableBuilds[] =
    "no satisfiable builds from passed jobs found for set of inputs";

/// Finds a version for every input, or says for each why not.
Resolution ResolveInputs(VersionsSource& source, const std::vector<InputConfig>& inputs,
                         const ResolutionLimits& limits = {});

}  // namespace pinion::scheduling
