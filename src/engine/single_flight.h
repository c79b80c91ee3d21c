#pragma once

#include <map>
#include <memory>
#include <string>

#include "async/signal.h"

namespace pinion::engine {

/// One at a time per key: for work that the next in line finds done. One loop's thread.
class SingleFlight {
 public:
  class Turn {
   public:
    Turn() = default;
    Turn(SingleFlight* owner, std::string key, Semaphore::Permit permit)
        : owner_(owner), key_(std::move(key)), permit_(std::move(permit)) {}
    Turn(Turn&& other) noexcept
        : owner_(std::exchange(other.owner_, nullptr)),
          key_(std::move(other.key_)),
          permit_(std::move(other.permit_)) {}
    Turn& operator=(Turn&&) = delete;
    ~Turn();

   private:
    SingleFlight* owner_ = nullptr;
    std::string key_;
    Semaphore::Permit permit_;
  };

  /// Returns when it is the caller's turn; the turn ends with the object. Throws Cancelled on stop.
  Task<Turn> Enter(std::string key, std::stop_token stop);

 private:
  struct Entry {
    Semaphore semaphore{1};
    std::size_t users = 0;
  };
  void Leave(const std::string& key);

  std::map<std::string, std::unique_ptr<Entry>> entries_;
};

}  // namespace pinion::engine
