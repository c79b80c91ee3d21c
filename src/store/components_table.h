#pragma once

#include <optional>
#include <string>
#include <vector>

#include "store/database.h"

namespace pinion::store {

/// A named part of the server that runs periodically or serves.
struct ComponentRow {
  std::string name;
  std::string role;
  Duration interval{};   ///< 0: it serves, or runs only when it is triggered
  bool pausable = true;  ///< false: others would do harm without it
  bool paused = false;
  std::optional<std::int64_t> last_ran;  ///< unix seconds, of the start of its last run
  Duration last_duration{};              ///< whole microseconds
  std::optional<std::string> last_error;
};

/// Adds the component, or updates what the program says of it; paused and its last run are kept.
void RegisterComponent(Transaction& transaction, const ComponentRow& component);
std::vector<ComponentRow> ListComponents(Transaction& transaction);
std::optional<ComponentRow> FindComponent(Transaction& transaction, std::string_view name);
/// Pauses or unpauses; false if there is no such component; a Failure (kConflict) if it cannot be
/// paused. Appends component.paused or component.unpaused when it changes something.
bool SetComponentPaused(Transaction& transaction, std::string_view name, bool paused);
/// All that can be paused.
void SetAllComponentsPaused(Transaction& transaction, bool paused);
/// A finished run, for the table.
struct ComponentRun {
  std::string name;
  std::int64_t started = 0;  ///< unix seconds
  Duration duration{};
  std::optional<std::string> error;
};
/// Notes the last runs of several components, in one statement. It stays off the change feed.
void RecordComponentRuns(Transaction& transaction, const std::vector<ComponentRun>& runs);

/// Whether a run is due that only one node does in each interval: notes its start, or is false when
/// another was first. `interval` may be shorter than the row's, to allow for jitter.
bool ClaimComponentRun(Transaction& transaction, std::string_view name, Duration interval);

}  // namespace pinion::store
