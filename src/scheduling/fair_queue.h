#pragma once

#include <deque>
#include <map>
#include <set>
#include <vector>

#include "scheduling/dependents.h"

namespace pinion::scheduling {

/// Jobs to look at: each at most once, teams in turn, so that one team's thousand jobs delay
/// another's only job by one batch. Those of the background come when nothing else waits.
class FairQueue {
 public:
  /// False if it waits already.
  bool Push(const DueJob& due, bool background = false) {
    if (!background && waiting_in_background_.erase(due.job) > 0) {
      std::erase(background_, due);  // it comes before its time
    }
    if (waiting_.contains(due.job) || waiting_in_background_.contains(due.job)) return false;
    if (background) {
      waiting_in_background_.insert(due.job);
      background_.push_back(due);
      return true;
    }
    waiting_.insert(due.job);
    auto& jobs = teams_[due.team];
    if (jobs.empty()) turns_.push_back(due.team);
    jobs.push_back(due);
    return true;
  }

  /// At most `limit`, one of each team in turn; jobs for which `busy` says true stay.
  template <class Busy>
  std::vector<DueJob> Take(std::size_t limit, Busy busy) {
    std::vector<DueJob> taken;
    std::size_t skipped = 0;
    while (taken.size() < limit && skipped < turns_.size()) {
      const TeamId team = turns_.front();
      turns_.pop_front();
      auto& jobs = teams_[team];
      std::size_t tried = 0;
      while (tried < jobs.size() && busy(jobs.front().job)) {
        jobs.push_back(jobs.front());
        jobs.pop_front();
        ++tried;
      }
      if (tried < jobs.size()) {
        waiting_.erase(jobs.front().job);
        taken.push_back(jobs.front());
        jobs.pop_front();
        skipped = 0;
      } else {
        ++skipped;
      }
      if (jobs.empty()) {
        teams_.erase(team);
      } else {
        turns_.push_back(team);
      }
    }
    // A few at a time: what comes meanwhile waits for them.
    const bool free = taken.empty();
    while (free && taken.size() < 4 && !background_.empty()) {
      const DueJob due = background_.front();
      background_.pop_front();
      waiting_in_background_.erase(due.job);
      if (!busy(due.job)) taken.push_back(due);  // who looks at it now sees what it is about
    }
    return taken;
  }

  std::size_t size() const { return waiting_.size() + waiting_in_background_.size(); }

 private:
  std::map<TeamId, std::deque<DueJob>> teams_;  // those with jobs
  std::deque<TeamId> turns_;
  std::set<JobId> waiting_;
  std::deque<DueJob> background_;
  std::set<JobId> waiting_in_background_;
};

}  // namespace pinion::scheduling
