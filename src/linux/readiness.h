#pragma once

#include <memory>
#include <stop_token>

#include "async/task.h"
#include "linux/fd.h"

namespace pinion::linux {

/// A non-blocking descriptor (socket, pipe, terminal, pidfd) watched by a loop. One reader and one
/// writer may wait at a time. For the loop's thread.
class WatchedFd {
 public:
  /// Takes the descriptor and makes it non-blocking.
  WatchedFd(Executor executor, UniqueFd fd);
  WatchedFd(WatchedFd&&) noexcept;
  WatchedFd& operator=(WatchedFd&&) noexcept;
  /// Waiters are cancelled.
  ~WatchedFd();

  int get() const;
  /// Returns when a read, or a write, would not block (also at the end and on errors). Throws
  /// Cancelled on stop and when the object is destroyed or closed meanwhile.
  Task<void> Readable(std::stop_token stop);
  Task<void> Writable(std::stop_token stop);
  void Close();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace pinion::linux
