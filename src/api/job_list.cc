#include "api/job_list.h"

#include <algorithm>
#include <set>

#include "api/present/convert.h"
#include "api/present/job.h"
#include "api/server.h"
#include "base/encoding.h"
#include "base/text.h"
#include "store/change_kinds.h"
#include "store/database.h"
#include "store/jobs_view.h"

namespace pinion::api {

namespace {

constexpr std::size_t kBlockBytes = 16 << 10;
/// Past so many changes since the last reading everything is read anew.
constexpr std::size_t kChangesMax = 2000;
constexpr std::size_t kPage = 500;
/// What is kept for answers beside the one that was made last.
constexpr std::size_t kKeptBytesMax = 16 << 20;
constexpr std::size_t kKeptMax = 32;
/// A notification of another node that was lost is made up for within this time.
constexpr Duration kLookAnyway = std::chrono::seconds(30);

/// Whose jobs the change concerns, as far as lists show it.
struct Concerned {
  std::set<std::int64_t> jobs;
  std::set<std::int64_t> pipelines;
  bool everything = false;

  void Take(const store::Change& change) {
    const std::string_view kind = change.kind;
    if (kind.starts_with("build.")) {
      if (kind == store::kinds::kBuildCommented) return;
      const auto data = ParseJson(change.data);
      const Json* job = data ? data->Find("job") : nullptr;
      if (job && job->IsInteger()) jobs.insert(job->AsInteger());
    } else if (kind.starts_with("job.")) {
      if (kind != store::kinds::kJobScheduleRequested) jobs.insert(change.id);
    } else if (kind == store::kinds::kPipelineOrdered || kind == store::kinds::kTeamRenamed ||
               kind == store::kinds::kTeamDestroyed) {
      everything = true;
    } else if (kind.starts_with("pipeline.")) {
      pipelines.insert(change.id);
    }
  }
};

template <class SomeId>
std::vector<SomeId> IdsOf(const std::set<std::int64_t>& numbers) {
  std::vector<SomeId> ids;
  for (const std::int64_t number : numbers)
    ids.push_back(SomeId{number});
  return ids;
}

std::string ViewOf(store::Visibility visible) {
  if (visible.all) return "*";
  std::ranges::sort(visible.teams, {}, &TeamId::value);
  std::string view = visible.public_too ? "p" : "";
  for (const TeamId team : visible.teams)
    view += "," + std::to_string(team.value);
  return view;
}

bool Lists(std::string_view if_none_match, std::string_view tag) {
  for (std::string_view one : Split(if_none_match, ',')) {
    one = Trim(one);
    if (one.starts_with("W/")) one.remove_prefix(2);
    if (one == tag || one == "*") return true;
  }
  return false;
}

}  // namespace

Task<void> AnswerList(Call& call, std::shared_ptr<const ListText> list) {
  const http::Headers& asked = call.exchange.request().headers;
  const bool gzip = http::AcceptsGzip(asked.Get("Accept-Encoding"));
  const std::string tag = "\"" + list->hash + (gzip ? "-gzip\"" : "\"");
  const bool known = Lists(asked.Get("If-None-Match"), tag);
  http::Response head = StreamHead(call, known ? 304 : 200, known ? "" : "application/json");
  head.headers.Set("ETag", tag);
  head.headers.Set("Cache-Control", "no-cache, private");
  head.headers.Set("Vary", "Accept-Encoding, Authorization, Cookie");
  call.answered = true;
  if (known) {
    co_await call.exchange.Respond(std::move(head));
    co_return;
  }
  // One text for everybody: it is sent as it is, without a copy.
  const std::string& text = gzip ? *list->gzip : *list->plain;
  if (gzip) head.headers.Set("Content-Encoding", "gzip");
  head.headers.Set("Content-Length", std::to_string(text.size()));
  http::BodyWriter* out = co_await call.exchange.Start(std::move(head), false);
  co_await out->Write(text, call.exchange.stop());
  co_await out->Finish(call.exchange.stop());
}

/// What a reading of the database found; made on a thread of its pool.
struct JobList::Update {
  bool everything = false;
  store::ChangeCursor cursor;
  struct Found {
    Place place;
    PipelineId id;
    Pipeline pipeline;
  };
  std::vector<Found> pipelines;
  /// Of pipelines that were read anew whatever they hold now.
  std::vector<PipelineId> gone;
  struct Job {
    PipelineId pipeline;
    JobId id;
    std::string text;  ///< "" if it is not shown any more
  };
  std::vector<Job> jobs;

  void Add(const std::vector<store::JobView>& views);
};

void JobList::Block::Make() {
  std::size_t bytes = 0;
  for (const auto& [id, json] : jobs)
    bytes += json.size() + 1;
  text.clear();
  text.reserve(bytes);
  for (const auto& [id, json] : jobs) {
    if (!text.empty()) text += ',';
    text += json;
  }
  hash = Sha256(text);
  packed.reset();
}

void JobList::Update::Add(const std::vector<store::JobView>& views) {
  std::size_t bytes = 0;
  for (const store::JobView& view : views) {
    if (pipelines.empty() || pipelines.back().id != view.pipeline) {
      pipelines.push_back({.place = {view.team_name, view.pipeline_ordering,
                                     view.pipeline_secondary_ordering, view.pipeline.value},
                           .id = view.pipeline,
                           .pipeline = {.team = view.team, .is_public = view.pipeline_public}});
      bytes = 0;
    }
    std::vector<Block>& blocks = pipelines.back().pipeline.blocks;
    if (blocks.empty() || bytes >= kBlockBytes) {
      blocks.emplace_back();
      bytes = 0;
    }
    std::string text = ToText(ToJson(ToJobSummary(view)));
    bytes += text.size();
    blocks.back().jobs.emplace_back(view.id, std::move(text));
  }
  for (Found& found : pipelines) {
    for (Block& block : found.pipeline.blocks)
      block.Make();
  }
}

JobList::Update JobList::ReadAll(store::Transaction& transaction) {
  Update update{.everything = true, .cursor = store::EndOfChanges(transaction)};
  update.Add(store::ViewAllJobs(transaction, {.all = true}));
  return update;
}

JobList::Update JobList::ReadChanged(store::Transaction& transaction, store::ChangeCursor cursor) {
  Concerned concerned;
  std::size_t count = 0;
  for (bool more = true; more;) {
    const store::ChangePage page = store::ReadChanges(transaction, cursor, kPage);
    if (page.trimmed) return ReadAll(transaction);
    for (const store::Change& change : page.changes)
      concerned.Take(change);
    count += page.changes.size();
    if (concerned.everything || count > kChangesMax) return ReadAll(transaction);
    cursor = page.next;
    more = page.more;
  }
  Update update{.cursor = cursor};
  if (!concerned.pipelines.empty()) {
    update.gone = IdsOf<PipelineId>(concerned.pipelines);
    update.Add(store::ViewJobsOfPipelines(transaction, update.gone));
  }
  if (concerned.jobs.empty()) return update;
  const auto jobs = IdsOf<JobId>(concerned.jobs);
  for (const store::JobView& view : store::ViewJobsById(transaction, jobs)) {
    update.jobs.push_back({view.pipeline, view.id, ToText(ToJson(ToJobSummary(view)))});
  }
  return update;
}

JobList::JobList(store::Database& database, const Clock& clock)
    : database_(database), clock_(clock), told_(std::make_shared<std::atomic<std::uint64_t>>(0)) {
  database_.OnChange([told = told_] { ++*told; });
}

Task<std::shared_ptr<const ListText>> JobList::Read(store::Visibility visible) {
  const std::uint64_t wanted = told_->load();
  while (!loaded_ || seen_ < wanted || clock_.Steady() - read_at_ > kLookAnyway) {
    // One reading serves all who came before it began.
    if (const std::shared_ptr<Event> reading = reading_) {
      co_await reading->Wait({});
    } else {
      co_await Refresh();
    }
  }
  std::string view = ViewOf(visible);
  const auto found = std::ranges::find(kept_, view, &Kept::view);
  if (found != kept_.end()) {
    kept_.splice(kept_.begin(), kept_, found);
    co_return found->text;
  }
  std::shared_ptr<const ListText> text = Make(visible);
  Keep(std::move(view), text);
  co_return text;
}

Task<void> JobList::Refresh() {
  reading_ = std::make_shared<Event>();
  const std::uint64_t told = told_->load();
  const SteadyTime began = clock_.Steady();
  std::exception_ptr error;
  try {
    auto work = [loaded = loaded_, cursor = cursor_](store::Transaction& transaction) {
      return loaded ? ReadChanged(transaction, cursor) : ReadAll(transaction);
    };
    Update update = co_await database_.Read(store::Pool::kApi, std::move(work));
    Apply(std::move(update));
    seen_ = told;
    read_at_ = began;
  } catch (...) {
    error = std::current_exception();
  }
  std::exchange(reading_, nullptr)->Set();
  if (error) std::rethrow_exception(error);
}

void JobList::Apply(Update update) {
  cursor_ = std::move(update.cursor);
  bool changed = update.everything;
  if (update.everything) {
    pipelines_.clear();
    places_.clear();
    loaded_ = true;
    ++loads_;
  }
  for (const PipelineId id : update.gone) {
    changed = true;
    Remove(id);
  }
  for (Update::Found& found : update.pipelines) {
    places_[found.id] = found.place;
    pipelines_[std::move(found.place)] = std::move(found.pipeline);
  }
  for (Update::Job& job : update.jobs) {
    changed = ReplaceJob(job.pipeline, job.id, std::move(job.text)) || changed;
  }
  if (!changed) return;
  kept_.clear();
  kept_bytes_ = 0;
}

void JobList::Remove(PipelineId pipeline) {
  const auto place = places_.find(pipeline);
  if (place == places_.end()) return;
  pipelines_.erase(place->second);
  places_.erase(place);
}

bool JobList::ReplaceJob(PipelineId pipeline, JobId job, std::string text) {
  const auto place = places_.find(pipeline);
  if (place == places_.end()) return false;
  for (Block& block : pipelines_[place->second].blocks) {
    const auto found =
        std::ranges::find(block.jobs, job, [](const auto& item) { return item.first; });
    if (found == block.jobs.end()) continue;
    if (found->second == text) return false;
    found->second = std::move(text);
    block.Make();
    return true;
  }
  return false;
}

std::shared_ptr<const ListText> JobList::Make(const store::Visibility& visible) {
  std::vector<Block*> blocks;
  std::size_t bytes = 3;
  for (auto& [place, pipeline] : pipelines_) {
    const bool shown = visible.all || (visible.public_too && pipeline.is_public) ||
                       std::ranges::find(visible.teams, pipeline.team) != visible.teams.end();
    if (!shown) continue;
    for (Block& block : pipeline.blocks) {
      blocks.push_back(&block);
      bytes += block.text.size() + 1;
    }
  }
  auto plain = std::make_shared<std::string>();
  plain->reserve(bytes);
  *plain += '[';
  http::GzipJoiner gzip;
  gzip.AddText("[");
  std::string hashes;
  for (Block* block : blocks) {
    if (block != blocks.front()) {
      *plain += ',';
      gzip.AddText(",");
    }
    *plain += block->text;
    if (!block->packed) {
      block->packed = std::make_unique<http::GzipPiece>(http::MakeGzipPiece(block->text));
    }
    gzip.Add(*block->packed);
    hashes += block->hash;
  }
  *plain += "]\n";
  gzip.AddText("]\n");
  auto text = std::make_shared<ListText>();
  text->plain = std::move(plain);
  text->gzip = std::make_shared<const std::string>(gzip.Finish());
  text->hash = ToHex(Sha256(hashes)).substr(0, 32);
  return text;
}

void JobList::Keep(std::string view, std::shared_ptr<const ListText> text) {
  const auto size = [](const Kept& kept) {
    return kept.text->plain->size() + kept.text->gzip->size();
  };
  kept_.push_front({std::move(view), std::move(text)});
  kept_bytes_ += size(kept_.front());
  while (kept_.size() > 1 && (kept_bytes_ > kKeptBytesMax || kept_.size() > kKeptMax)) {
    kept_bytes_ -= size(kept_.back());
    kept_.pop_back();
  }
}

}  // namespace pinion::api
