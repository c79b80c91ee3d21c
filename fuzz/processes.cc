// Streams of Garden's processes. The web's side: a worker that answers anything, by upstream's
// attach and by offsets. The worker's side: specs, users and lines of input.
#include "async/loop.h"
#include "base/files.h"
#include "base/text.h"
#include "fleet/worker_calls.h"
#include "fuzz/target.h"
#include "fuzz/wire.h"
#include "worker/containers/process_spec.h"

#include <filesystem>
#include <fstream>

using namespace pinion;
using fuzz::Require;
namespace garden = pinion::protocol::garden;

namespace {

/// Answers of a worker one after the other: the first byte tells of what kind, the rest is body.
class Script {
 public:
  Script(std::string_view text, std::uint32_t seed) : input_(text), seed_(seed) {}
  struct Answer {
    int status = 200;
    std::string_view body;
  };
  Answer Next() {
    // Not kUnavailable: that would be tried again.
    if (input_.empty()) throw Failure(ErrorKind::kInvalid, "the worker is gone");
    const std::size_t end = input_.find("\n--\n");
    std::string_view part = input_.substr(0, end);
    input_.remove_prefix(end == std::string_view::npos ? input_.size() : end + 4);
    if (part.empty()) return {200, part};
    const char kind = part.front();
    part.remove_prefix(1);
    switch (kind) {
      case '4':
        return {404, part};
      case '5':
        return {500, part};
      case '9':
        return {409, part};
      case 'x':
        throw Failure(ErrorKind::kUnavailable, "broken off");
      case 't':
        throw Failure(ErrorKind::kTimeout, "too late");
      default:
        return {200, part};
    }
  }
  std::uint32_t seed() const { return seed_; }

 private:
  std::string_view input_;
  std::uint32_t seed_;
};

std::string written;

class FakeClient final : public http::Client {
 public:
  explicit FakeClient(Script& script) : script_(script) {}
  Task<http::Response> Send(http::Request request, std::stop_token) override {
    if (request.method == "PUT") co_return http::Response{};  // told in the background
    const auto answer = script_.Next();
    co_return http::Response{.status = answer.status, .body = std::string(answer.body)};
  }
  Task<http::StreamedResponse> Open(http::Request, http::BodyReader*, std::stop_token) override {
    const auto answer = script_.Next();
    http::StreamedResponse response;
    response.status = answer.status;
    response.body = std::make_unique<fuzz::Pieces>(answer.body, script_.seed());
    co_return response;
  }
  Task<std::unique_ptr<http::Stream>> Hijack(http::Request, http::Response& head,
                                             std::stop_token) override {
    const auto answer = script_.Next();
    head.status = answer.status;
    if (answer.status >= 400) {
      head.body = answer.body;
      co_return nullptr;
    }
    co_return std::make_unique<fuzz::Wire>(answer.body, script_.seed(), written);
  }
  Task<std::unique_ptr<http::WebSocket>> OpenWebSocket(http::Request, http::Response&, std::size_t,
                                                       std::stop_token) override {
    co_return nullptr;
  }

 private:
  Script& script_;
};

Loop& TheLoop() {
  static Loop loop("fuzz");
  return loop;
}

std::shared_ptr<fleet::WorkerCalls> Calls(Script& script) {
  static const SystemClock clock;
  static const auto timers = MakeSystemTimers(TheLoop().executor(), clock);
  const fleet::WorkerClientOptions options{.name = "w",
                                           .garden_url = "http://127.0.0.1:1",
                                           .baggageclaim_url = "http://127.0.0.1:1",
                                           .first_pause = Duration(0),
                                           .longest_pause = Duration(0)};
  auto calls =
      std::make_shared<fleet::WorkerCalls>(TheLoop().executor(), *timers, Logger(), options);
  for (auto* client : {&calls->garden, &calls->streams, &calls->baggageclaim, &calls->bulk})
    *client = std::make_unique<FakeClient>(script);
  return calls;
}

Task<void> Follow(std::shared_ptr<fleet::WorkerCalls> calls, bool by_offsets, std::string& out) {
  const garden::ProcessSpec spec{.id = "p", .path = "/bin/sh"};
  std::unique_ptr<fleet::ProcessFollower> follower;
  if (by_offsets) {
    follower = co_await fleet::FollowByOffsets(calls, "h", spec, "input", 3, 5, 1, {});
  } else {
    follower = co_await fleet::FollowByAttach(calls, "h", spec, "input", 3, 5, {});
  }
  std::uint64_t reached[3] = {0, 3, 5};
  for (;;) {
    const fleet::ProcessOutput output = co_await follower->Next({});
    Require(output.stream >= 0 && output.stream <= 2, "output of an unknown stream");
    if (output.stream == 0) {
      Require(output.exit_status.has_value() || !output.error.empty(), "an end that tells nothing");
      out += "end " + std::to_string(output.exit_status.value_or(-1)) + output.error;
      co_return;
    }
    Require(!output.bytes.empty() && output.offset >= reached[output.stream],
            "a byte came twice, or none");
    reached[output.stream] = output.offset + output.bytes.size();
    follower->Acknowledge(reached[1], reached[2]);
    out += std::to_string(output.stream) + output.bytes;
  }
}

Task<void> Interact(std::shared_ptr<fleet::WorkerCalls> calls, std::string input) {
  auto main = co_await fleet::HijackRun(calls, "h", {.id = "p"}, std::nullopt, {});
  const auto streams =
      co_await fleet::ProcessStreams::Open(calls, "h", "hijacking", std::move(main), {});
  std::exception_ptr failure;
  try {
    co_await streams->SendInput(std::move(input));
    co_await streams->SendWindowSize(80, -1);
    co_await streams->SendInputEnd();
    while (auto output = co_await streams->Next({})) {
      if (output->stream == 0) break;
    }
  } catch (...) {
    failure = std::current_exception();
  }
  streams->Close();
  if (failure) std::rethrow_exception(failure);
}

Task<void> Finish(std::shared_ptr<fleet::WorkerCalls> calls) {
  calls->tasks.RequestStop();
  co_await calls->tasks.Join();
}

template <class Work>
std::string RunWith(std::string_view text, std::uint32_t seed, Work work) {
  Script script(text, seed);
  const auto calls = Calls(script);
  std::string error;
  try {
    TheLoop().RunUntilDone(work(calls));
  } catch (const Failure& failure) {
    error = failure.what();
    Require(!error.empty(), "an error without a message");
  } catch (const Cancelled&) {
    error = "cancelled";
  }
  TheLoop().RunUntilDone(Finish(calls));
  TheLoop().Poll();
  return error;
}

/// Lines of input as a worker reads them.
void CheckLines(std::string_view text) {
  for (const std::string_view line : Split(text, '\n')) {
    const auto payload = FromText<garden::ProcessPayload>(line, {.bytes = 4 << 20});
    if (!payload) continue;
    const auto again = FromJson<garden::ProcessPayload>(ToJson(*payload));
    Require(again.has_value() && ToJson(*again) == ToJson(*payload), "a line is read differently",
            line);
  }
}

void CheckSpec(std::string_view container_text, std::string_view process_text,
               std::string_view passwd, std::string_view group) {
  static const TemporaryFolder rootfs("fuzz-rootfs");
  std::filesystem::create_directories(rootfs.path() / "etc");
  std::ofstream(rootfs.path() / "etc/passwd") << passwd;
  std::ofstream(rootfs.path() / "etc/group") << group;
  garden::ContainerSpec container;
  if (auto read = FromText<garden::ContainerSpec>(container_text)) container = std::move(*read);
  const auto process = FromText<garden::ProcessSpec>(process_text);
  if (!process) {
    static_cast<void>(worker::FindUser(rootfs.path(), std::string(process_text)));
    return;
  }
  const auto spec = worker::MakeInitSpec(container, *process, rootfs.path());
  if (!spec) {
    Require(!spec.error().message.empty(), "an error without a message");
    return;
  }
  // As init reads it: texts that each end with NUL, the counts among them right.
  Require(spec->text.ends_with('\0'), "a text without its end");
  std::vector<std::string_view> texts = Split(spec->text, '\0');
  texts.pop_back();
  const std::size_t groups = spec->user.groups.size();
  Require(texts.size() > groups + 7 && texts[2] == std::to_string(groups), "groups are wrong");
  // After the groups: columns, rows, verbatim, folder.
  const std::string_view count = texts[3 + groups + 4];
  Require(count == std::to_string(process->args.size() + 1), "arguments are wrong", spec->text);
  Require(texts[3 + groups + 5] == process->path, "the path is wrong");
  for (std::size_t i = 3 + groups + 6 + process->args.size(); i < texts.size(); ++i)
    Require(texts[i].find('=') != std::string_view::npos, "a variable without a value");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const unsigned choice = input.Choice(4);
  const std::uint32_t seed = input.Choice(255) + 1;
  const std::string_view text = input.Rest();
  written.clear();
  if (choice < 2) {
    std::string whole;
    std::string pieces;
    const bool by_offsets = choice == 1;
    const std::string error = RunWith(text, 0, [&](std::shared_ptr<fleet::WorkerCalls> calls) {
      return Follow(calls, by_offsets, whole);
    });
    const std::string again = RunWith(text, seed, [&](std::shared_ptr<fleet::WorkerCalls> calls) {
      return Follow(calls, by_offsets, pieces);
    });
    // Attach interleaves its two streams as they come.
    if (by_offsets) Require(error == again, "cut into other pieces, it ends differently", error);
  } else if (choice == 2) {
    RunWith(text, seed, [&](std::shared_ptr<fleet::WorkerCalls> calls) {
      return Interact(calls, std::string(text));
    });
  } else {
    CheckLines(text);
    const std::string_view container = input.Until("\n--\n");
    const std::string_view process = input.Until("\n--\n");
    const std::string_view passwd = input.Until("\n--\n");
    CheckSpec(container, process, passwd, input.Rest());
  }
  return 0;
}
