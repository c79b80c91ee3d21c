#include "engine/check_runner.h"

#include <functional>

#include "base/encoding.h"
#include "engine/check_script.h"
#include "engine/steps.h"
#include "secrets/var_sources.h"
#include "store/containers.h"
#include "vars/template.h"

namespace pinion::engine {
namespace {

constexpr Duration kRetryDelay = std::chrono::seconds(1);

/// Keeps the end of what a check said, for its error.
class TailLog final : public events::BuildLogWriter {
 public:
  std::uint64_t Append(const protocol::Event& event,
                       const std::optional<events::Coverage>&) override {
    constexpr std::size_t kTailBytes = 2048;
    if (event.name == "log") tail_ += event.data.StringAt("payload");
    if (event.name == "error") tail_ += event.data.StringAt("message");
    if (tail_.size() > kTailBytes) tail_.erase(0, tail_.size() - kTailBytes);
    return next_++;
  }
  std::uint64_t Covered(const std::string&, int, int) const override { return 0; }
  Task<void> Ready(std::stop_token) override { co_return; }
  Task<void> Flush() override { co_return; }
  Task<void> Finish() override { co_return; }
  const std::string& tail() const { return tail_; }

 private:
  std::string tail_;
  std::uint64_t next_ = 0;
};

store::BuildRow RowOf(const checking::CheckRequest& request) {
  store::BuildRow row;
  row.name = "check";
  row.team = request.owner.team;
  row.team_name = request.owner.team_name;
  row.pipeline = request.owner.pipeline;
  row.pipeline_name = request.owner.pipeline_name;
  row.instance_vars = request.owner.instance_vars;
  row.resource = request.resource;
  row.resource_name = request.resource_name;
  return row;
}

}  // namespace

CheckRunner::CheckRunner(EngineServices services, std::function<void()> container_left)
    : services_(std::move(services)), container_left_(std::move(container_left)) {}

Task<checking::CheckResult> CheckRunner::RunCheck(checking::CheckRequest request,
                                                  std::stop_token stop) {
  const std::string prefix =
      store::CheckHandlePrefix(request.scope, services_.owner().epoch, ++next_);
  auto log = std::make_unique<TailLog>();
  const TailLog& said = *log;
  BuildRun run(services_, RowOf(request), std::move(log), {});
  run.BeCheck(prefix, request.scope);
  Scope scope;
  const std::function<void()> interrupt = [&run] { run.root().Interrupt(Outcome::kAborted); };
  const std::stop_callback on_stop(stop, interrupt);

  CheckOutput output;
  std::exception_ptr failure;
  try {
    const LeafContext context{run, scope, request.plan, run.root()};
    const Json source = co_await engine::FillIn(context, request.plan.check->source);
    output = co_await RunCheckScript(context, source, request.from);
  } catch (...) {
    failure = std::current_exception();
  }
  co_await LeaveContainers(run.containers(), stop);
  if (failure) std::rethrow_exception(failure);
  if (output.exit_status != 0) {
    throw Failure(ErrorKind::kInvalid, "check exited with status " +
                                           std::to_string(output.exit_status) + ": " + said.tail());
  }
  co_return std::move(output.result);
}

Task<void> CheckRunner::LeaveContainers(std::vector<std::string> handles, std::stop_token stop) {
  left_.insert(handles.begin(), handles.end());
  while (!left_.empty()) {
    const std::set<std::string> leaving = left_;
    std::string error;
    try {
      co_await services_.database.Write(store::Pool::kEngine,
                                        [leaving](store::Transaction& transaction) {
                                          for (const std::string& handle : leaving) {
                                            store::SetContainerDestroying(transaction, handle);
                                          }
                                        });
    } catch (const Failure& failure) {
      error = failure.error().message;
    }
    if (error.empty()) {
      for (const std::string& handle : leaving)
        left_.erase(handle);
      break;
    }
    services_.log.Warn("a check's containers could not be left, trying again", {{"error", error}});
    try {
      co_await services_.timers.Sleep(kRetryDelay, stop);
    } catch (const Cancelled&) {
      break;  // the next check takes them along, or the collector when this process has ended
    }
  }
  container_left_();
}

Task<Json> SourceFiller::FillIn(checking::SourceOwner owner, Json value, std::stop_token stop) {
  const secrets::VarOwner of{.team = owner.team_name,
                             .pipeline = owner.pipeline_name,
                             .instance_vars = owner.instance_vars};
  const vars::ResolvedVariables resolved = co_await var_sources_.Resolve(
      of, owner.pipeline, ValueOrThrow(vars::References(value)), std::move(stop));
  co_return ValueOrThrow(vars::InterpolateAll(value, resolved));
}

}  // namespace pinion::engine
