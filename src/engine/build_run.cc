#include "engine/build_run.h"

#include <algorithm>
#include <array>

#include "base/encoding.h"
#include "base/mutant.h"
#include "base/units.h"
#include "protocol/events.h"
#include "vars/variables.h"

namespace pinion::engine {
namespace {

// Coverage of lifecycle events counts stages on a stream number of their own.
constexpr int kStageStream = 0;

constexpr std::array<std::string_view, 5> kOutcomeNames = {"succeeded", "failed", "errored",
                                                           "timed-out", "aborted"};

}  // namespace

std::string_view Name(Outcome outcome) {
  return kOutcomeNames[static_cast<std::size_t>(outcome)];
}

Outcome ParseOutcome(std::string_view name) {
  for (std::size_t i = 0; i < kOutcomeNames.size(); ++i) {
    if (kOutcomeNames[i] == name) return static_cast<Outcome>(i);
  }
  throw Failure(ErrorKind::kInternal, "unknown step state '" + std::string(name) + "'");
}

BuildRun::BuildRun(EngineServices& services, store::BuildRow build,
                   std::unique_ptr<events::BuildLogWriter> writer,
                   std::vector<store::StepRow> concluded)
    : services_(services),
      build_(std::move(build)),
      owner_(build_.owner ? *build_.owner : services.owner()),
      log_(services.log.With({{"build", build_.id.value},
                              {"team", build_.team_name},
                              {"pipeline", build_.pipeline_name},
                              {"job", build_.job_name}})),
      writer_(std::move(writer)),
      container_prefix_("b" + std::to_string(build_.id.value) + "-") {
  printed_bytes_ = writer_->CoveredOutput();
  for (store::StepRow& step : concluded) {
    if (step.state == "started") continue;  // it is taken up by attaching to its container
    std::string id = step.plan_id;
    concluded_.emplace(std::move(id), std::move(step));
  }
}

void BuildRun::Release() {
  released_ = true;
  root_.Interrupt(Outcome::kAborted);
  hooks_.Interrupt(Outcome::kAborted);
}

void BuildRun::CountOutput(std::size_t bytes) {
  printed_bytes_ += bytes;
  const std::uint64_t most = services_.build_log_bytes_max;
  if (most == 0 || printed_bytes_ <= most) return;
  throw Failure(ErrorKind::kTooLarge,
                "the build has printed more than " + BytesText({static_cast<std::int64_t>(most)}) +
                    ": let it print less, or raise the server's --max-build-log-size");
}

void BuildRun::Emit(const protocol::Event& event) {
  if (!released_) writer_->Append(event);
}

bool BuildRun::Announced(const std::string& plan_id, Stage stage) const {
  return writer_->Covered(plan_id, 1, kStageStream) >= static_cast<std::uint64_t>(stage);
}

void BuildRun::EmitOnce(const std::string& plan_id, Stage stage, const protocol::Event& event) {
  if (released_ || Announced(plan_id, stage)) return;
  writer_->Append(event, events::Coverage{.plan_id = plan_id,
                                          .stream = kStageStream,
                                          .end = static_cast<std::uint64_t>(stage)});
}

void BuildRun::EmitEnd(store::BuildStatus status) {
  if (released_ || Announced("", Stage::kFinished)) return;
  // How far the log covers the build's stages tells the status, too.
  const auto end =
      static_cast<std::uint64_t>(Stage::kFinished) + static_cast<std::uint64_t>(status);
  writer_->AppendLast(protocol::StatusEvent(store::Name(status), now()),
                      events::Coverage{.plan_id = "", .stream = kStageStream, .end = end});
}

std::optional<store::BuildStatus> BuildRun::DecidedEnd() const {
  const std::uint64_t covered = writer_->Covered("", 1, kStageStream);
  const auto finished = static_cast<std::uint64_t>(Stage::kFinished);
  if (covered <= finished) return std::nullopt;
  return static_cast<store::BuildStatus>(covered - finished);
}

void BuildRun::Errored(const std::string& plan_id, std::string_view message) {
  if (released_) return;
  log_.Info("step errored", {{"step", plan_id}, {"error", message}});
  Emit(protocol::ErrorEvent({.id = plan_id}, now(), message));
}

void BuildRun::Say(const std::string& plan_id, std::string_view text) {
  Emit(protocol::LogEvent({.id = plan_id, .source = "stderr"}, now(), text));
}

void BuildRun::Passed(std::string_view plan_id, std::string_view stage) const {
  if (log_.level() != LogLevel::kDebug) return;
  log_.Debug("step", {{"step", plan_id}, {"stage", stage}});
}

const store::StepRow* BuildRun::Concluded(const std::string& plan_id) const {
  const auto found = concluded_.find(plan_id);
  return found == concluded_.end() ? nullptr : &found->second;
}

Task<void> BuildRun::Conclude(std::string plan_id, Outcome outcome, Json result, Also also) {
  if (released_) throw Cancelled();
  if (!build_.id) {
    if (also) co_await Write(std::move(also));
    co_return;
  }
  if (PINION_MUTANT("conclusion-not-written")) co_return;
  // The log first: a conclusion without the output that led to it must not survive a crash.
  co_await FlushLog();
  store::StepRow step{.plan_id = std::move(plan_id),
                      .state = std::string(Name(outcome)),
                      .result = std::move(result)};
  Also work = [build = build_.id, owner = owner_, step, also](store::Transaction& transaction) {
    store::SaveStep(transaction, build, owner, step);
    if (also) also(transaction);
  };
  co_await Write(std::move(work));
}

Task<void> BuildRun::FlushLog() {
  for (;;) {
    std::optional<Error> error;
    try {
      co_await writer_->Flush();
    } catch (const Failure& failure) {
      error = failure.error();
    }
    if (!error) co_return;
    co_await WaitOutside("room for its log", std::move(*error));
  }
}

Task<void> BuildRun::WaitOutside(std::string_view what, Error error) {
  constexpr Duration kRetry = std::chrono::seconds(1);
  if (released_) throw Cancelled();
  SayWaiting(what, error.message);
  // An abort does not end this: what has happened must be written all the same.
  co_await services_.timers.Sleep(kRetry, hooks_.token());
}

void BuildRun::SayWaiting(std::string_view what, std::string_view why) {
  constexpr Duration kTellAgain = std::chrono::minutes(1);
  if (released_) return;
  const SteadyTime now = services_.timers.clock().Steady();
  if (told_outage_ != SteadyTime{} && now - told_outage_ <= kTellAgain) return;
  told_outage_ = now;
  const std::string text = "waiting for " + std::string(what) + ": " + std::string(why);
  log_.Warn("the build waits", {{"reason", text}});
  Say("", text + "\n");
}

std::shared_ptr<void> BuildRun::TellWhileWaitingFor(fleet::WorkerClient& worker) {
  return worker.OnTrouble([this](const std::string& why) { SayWaiting("the worker", why); });
}

void BuildRun::ConcludeLater(std::string plan_id, Outcome outcome, Json result, Also also) {
  if (released_) throw Cancelled();
  if (!build_.id && !also) return;
  unwritten_.push_back({.number = next_unwritten_++,
                        .step = {.plan_id = std::move(plan_id),
                                 .state = std::string(Name(outcome)),
                                 .result = std::move(result)},
                        .also = std::move(also)});
}

Task<void> BuildRun::Write(Also work) {
  // Parallel steps may write the same ones: what a step rests on is in its own transaction.
  const std::vector<Unwritten> before = unwritten_;
  if (!before.empty() && build_.id) co_await FlushLog();
  co_await InDatabase(
      true, [build = build_.id, owner = owner_, before, work](store::Transaction& transaction) {
        for (const Unwritten& one : before) {
          if (build) store::SaveStep(transaction, build, owner, one.step);
          if (one.also) one.also(transaction);
        }
        work(transaction);
      });
  std::erase_if(unwritten_, [&before](const Unwritten& one) {
    return std::ranges::find(before, one.number, &Unwritten::number) != before.end();
  });
}

void BuildRun::AddSecret(const Json& value) {
  std::vector<std::string> texts;
  vars::CollectTexts(value, texts);
  for (std::string& text : texts) {
    if (std::ranges::find(secret_texts_, text) == secret_texts_.end()) {
      secret_texts_.push_back(std::move(text));
    }
  }
}

std::shared_ptr<fleet::WorkerClient> BuildRun::Worker(const std::string& name) const {
  auto client = services_.fleet.Client(name);
  if (!client) throw Failure(ErrorKind::kUnavailable, "worker '" + name + "' is gone");
  return client;
}

std::vector<std::string> BuildRun::ResourceEnv() const {
  std::vector<std::string> env;
  const auto add = [&](std::string_view name, const std::string& value) {
    if (!value.empty()) env.push_back(std::string(name) + "=" + value);
  };
  const std::string id = std::to_string(build_.id.value);
  add("BUILD_ID", id);
  add("BUILD_NAME", build_.name);
  add("BUILD_TEAM_ID", std::to_string(build_.team.value));
  add("BUILD_TEAM_NAME", build_.team_name);
  if (build_.job) add("BUILD_JOB_ID", std::to_string(build_.job.value));
  add("BUILD_JOB_NAME", build_.job_name);
  if (build_.pipeline) add("BUILD_PIPELINE_ID", std::to_string(build_.pipeline.value));
  add("BUILD_PIPELINE_NAME", build_.pipeline_name);
  add("BUILD_PIPELINE_INSTANCE_VARS", build_.instance_vars);
  const std::string& url = services_.external_url;
  if (url.empty()) return env;
  add("ATC_EXTERNAL_URL", url);
  const std::string short_url = url + "/builds/" + id;
  std::string full_url = short_url;
  if (!build_.pipeline_name.empty() && !build_.job_name.empty()) {
    full_url = url + "/teams/" + PercentEncode(build_.team_name) + "/pipelines/" +
               PercentEncode(build_.pipeline_name) + "/jobs/" + PercentEncode(build_.job_name) +
               "/builds/" + PercentEncode(build_.name);
    if (!build_.instance_vars.empty()) full_url += "?vars=" + PercentEncode(build_.instance_vars);
  }
  add("BUILD_URL", full_url);
  add("BUILD_URL_SHORT", short_url);
  return env;
}

}  // namespace pinion::engine
