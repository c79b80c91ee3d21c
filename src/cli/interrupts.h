#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "async/loop.h"

namespace pinion::cli {

/// Brings signals of this process into a loop while it lives: `on_signal` runs on the loop's
/// thread. One at a time in a process.
class Interrupts {
 public:
  Interrupts(Loop& loop, std::vector<int> signals, std::function<void(int)> on_signal);
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;
  ~Interrupts();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pinion::cli
