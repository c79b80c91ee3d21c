#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/database.h"

namespace pinion::store {

/// A part of the program that ticks or serves, as every node sees it.
struct ComponentRow {
  std::string name;
  std::string role;
  std::int64_t interval_ns = 0;  ///< 0: serves, does not tick
  bool paused = false;
  std::optional<std::int64_t> last_ran;  ///< unix seconds
  std::int64_t last_duration_us = 0;
  std::string last_error;
};

std::vector<ComponentRow> ListComponents(Transaction& transaction);
/// `component.paused` or `component.unpaused`; an empty name means all. False if there is none of that
/// name.
bool SetComponentPaused(Transaction& transaction, std::string_view name, bool paused);

}  // namespace pinion::store
