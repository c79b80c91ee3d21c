#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "async/signal.h"
#include "async/task.h"
#include "base/clock.h"
#include "http/compression.h"
#include "http/message.h"
#include "store/changes.h"
#include "store/jobs_view.h"

namespace pinion::api {

/// A list as it is answered. Immutable; shared by all who may see the same.
struct ListText {
  std::shared_ptr<const std::string> plain;
  std::shared_ptr<const std::string> gzip;
  std::string hash;  ///< of `plain`: the base of its entity tags
};

namespace present {
struct JobSummary;
}
present::JobSummary ToJobSummary(const store::JobView& job);

struct Call;

/// Answers a request with a list: whole, compressed, or 304 if the client has it already.
Task<void> AnswerList(Call& call, std::shared_ptr<const ListText> list);

/// All jobs as ready-made JSON, kept up to date by the change feed: a change costs what it changed,
/// not what there is. Nothing is read while nobody asks. On the loop's thread.
class JobList {
 public:
  JobList(store::Database& database, const Clock& clock);
  JobList(const JobList&) = delete;
  JobList& operator=(const JobList&) = delete;

  /// The jobs of every pipeline that this caller may see, in the order of store::ViewAllJobs.
  /// Contains every change that was answered as done by this process before the call. One text per
  /// set of visible pipelines' teams: no caller ever gets what was made for another's view.
  Task<std::shared_ptr<const ListText>> Read(store::Visibility visible);

  /// For tests: how often everything was read.
  int loads() const { return loads_; }
  /// For tests: bytes of the texts that are kept for answers.
  std::size_t kept_bytes() const { return kept_bytes_; }

 private:
  struct Update;
  /// Some neighbours of one pipeline, small enough to be made and compressed anew for one job.
  struct Block {
    std::vector<std::pair<JobId, std::string>> jobs;
    std::string text;  ///< of the jobs, with commas between them
    std::string hash;
    std::unique_ptr<http::GzipPiece> packed;  ///< made when it is first needed
    void Make();
  };
  /// Team, ordering, secondary ordering, id: how pipelines stand in lists.
  using Place = std::tuple<std::string, std::int64_t, std::int64_t, std::int64_t>;
  struct Pipeline {
    TeamId team;
    bool is_public = false;
    std::vector<Block> blocks;
  };
  struct Kept {
    std::string view;
    std::shared_ptr<const ListText> text;
  };

  static Update ReadAll(store::Transaction& transaction);
  static Update ReadChanged(store::Transaction& transaction, store::ChangeCursor cursor);
  Task<void> Refresh();
  void Apply(Update update);
  void Remove(PipelineId pipeline);
  bool ReplaceJob(PipelineId pipeline, JobId job, std::string text);
  std::shared_ptr<const ListText> Make(const store::Visibility& visible);
  void Keep(std::string view, std::shared_ptr<const ListText> text);

  store::Database& database_;
  const Clock& clock_;
  bool loaded_ = false;
  store::ChangeCursor cursor_;
  /// How often the database told of changes; it outlives this object, as what calls it may.
  std::shared_ptr<std::atomic<std::uint64_t>> told_;
  std::uint64_t seen_ = 0;  ///< `told_` before the last reading
  SteadyTime read_at_{};
  std::shared_ptr<Event> reading_;
  int loads_ = 0;

  std::map<Place, Pipeline> pipelines_;
  std::unordered_map<PipelineId, Place> places_;
  std::list<Kept> kept_;  ///< the last asked for first
  std::size_t kept_bytes_ = 0;
};

}  // namespace pinion::api
