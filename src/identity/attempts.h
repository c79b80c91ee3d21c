#pragma once

#include <map>
#include <string>

#include "base/clock.h"

namespace pinion::identity {

/// Slows down guessing of passwords: after some failures for one name or from one address, further
/// attempts are refused for a while. Remembers a bounded number of keys. On one loop's thread.
class AttemptLimiter {
 public:
  struct Options {
    int failures_max = 10;  ///< of one key within the window
    Duration window = std::chrono::minutes(1);
    std::size_t keys_max = 10'000;  ///< the oldest are forgotten first
  };
  explicit AttemptLimiter(const Clock& clock) : AttemptLimiter(clock, Options{}) {}
  AttemptLimiter(const Clock& clock, Options options) : clock_(clock), options_(options) {}

  /// False while the key has failed too often.
  bool Allowed(const std::string& key);
  void Failed(const std::string& key);
  void Succeeded(const std::string& key) { entries_.erase(key); }

 private:
  struct Entry {
    SteadyTime since;
    int failures = 0;
  };
  void MakeRoom();

  const Clock& clock_;
  Options options_;
  std::map<std::string, Entry> entries_;
};

}  // namespace pinion::identity
