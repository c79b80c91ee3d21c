#include "engine/single_flight.h"

namespace pinion::engine {

SingleFlight::Turn::~Turn() {
  permit_.Release();  // before the entry that it belongs to may go
  if (owner_) owner_->Leave(key_);
}

Task<SingleFlight::Turn> SingleFlight::Enter(std::string key, std::stop_token stop) {
  std::unique_ptr<Entry>& entry = entries_[key];
  if (!entry) entry = std::make_unique<Entry>();
  ++entry->users;
  Entry& mine = *entry;
  Semaphore::Permit permit;
  try {
    permit = co_await mine.semaphore.Acquire(stop);
  } catch (...) {
    Leave(key);
    throw;
  }
  co_return Turn(this, std::move(key), std::move(permit));
}

void SingleFlight::Leave(const std::string& key) {
  const auto found = entries_.find(key);
  if (--found->second->users == 0) entries_.erase(found);
}

}  // namespace pinion::engine
