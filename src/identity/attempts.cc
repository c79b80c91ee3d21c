#include "identity/attempts.h"

#include <algorithm>

namespace pinion::identity {

bool AttemptLimiter::Allowed(const std::string& key) {
  const auto found = entries_.find(key);
  if (found == entries_.end()) return true;
  if (clock_.Steady() - found->second.since >= options_.window) {
    entries_.erase(found);
    return true;
  }
  return found->second.failures < options_.failures_max;
}

void AttemptLimiter::Failed(const std::string& key) {
  const auto found = entries_.find(key);
  if (found != entries_.end() && clock_.Steady() - found->second.since < options_.window) {
    ++found->second.failures;
    return;
  }
  if (entries_.size() >= options_.keys_max) MakeRoom();
  entries_[key] = Entry{.since = clock_.Steady(), .failures = 1};
}

void AttemptLimiter::MakeRoom() {
  const SteadyTime now = clock_.Steady();
  std::erase_if(entries_,
                [&](const auto& item) { return now - item.second.since >= options_.window; });
  while (entries_.size() >= options_.keys_max) {
    entries_.erase(
        std::ranges::min_element(entries_, {}, [](const auto& item) { return item.second.since; }));
  }
}

}  // namespace pinion::identity
