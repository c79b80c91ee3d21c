#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <ostream>
#include <thread>

#include "async/signal.h"
#include "async/task_group.h"
#include "base/encoding.h"
#include "base/text.h"
#include "cli/commands/build_lookup.h"
#include "cli/commands/commands.h"
#include "cli/commands/options.h"
#include "cli/interrupts.h"
#include "cli/prompt.h"
#include "linux/fd.h"

namespace pinion::cli {
namespace {

struct HijackOptions {
  std::string job, handle, check, url, build, step, step_type, attempt, team;
  std::vector<std::string> program;

  void AddTo(Options& options) {
    AddJob(options, job, "A container of this job's build");
    options.Add({.name = "handle", .doc = "The container with this handle"}, handle);
    options.Add({.name = "check",
                 .doc = "A container that checks this resource",
                 .short_name = 'c',
                 .value_name = "PIPELINE/RESOURCE"},
                check);
    options.Add(
        {.name = "url", .doc = "URL of the build's, job's or resource's page", .short_name = 'u'},
        url);
    options.Add(
        {.name = "build", .doc = "Number of the job's build, or id of a build", .short_name = 'b'},
        build);
    options.Add({.name = "step", .doc = "Name of the step", .short_name = 's'}, step);
    options.Add({.name = "step-type", .doc = "Type of the step: get, put, task, ..."}, step_type);
    options.Add({.name = "attempt", .doc = "Attempt of the step, N or N,N", .short_name = 'a'},
                attempt);
    AddTeam(options, team);
    options.AddPositional("COMMAND", "command to run, with its arguments; bash, or else sh",
                          program);
  }
};

/// What is known of the containers that are looked for.
struct Search {
  PipelineRef pipeline;
  std::string job, check, build;
};

Search SearchOf(const Target& target, const HijackOptions& given) {
  Search search;
  if (!given.url.empty()) {
    const PageUrl page = ParsePageUrl(given.url);
    if (page.origin != target.api->url()) throw CommandError("URL doesn't match that of target");
    if (page.Part("teams") != target.team) {
      throw CommandError("Team in URL doesn't match the current team of the target");
    }
    search.pipeline = {page.Part("pipelines"), InstanceVarsFromQuery(page.query)};
    search.job = page.Part("jobs");
    search.build = page.Part("builds");
    search.check = page.Part("resources");
  }
  if (!given.check.empty()) {
    const PartRef part = ParsePartRef(given.check, "resource");
    search.pipeline = part.pipeline;
    search.check = part.name;
  }
  if (!given.job.empty()) {
    const PartRef part = ParsePartRef(given.job, "job");
    search.pipeline = part.pipeline;
    search.job = part.name;
  }
  if (!given.build.empty()) search.build = given.build;
  return search;
}

QueryItems QueryOf(Target& target, const Search& search, const HijackOptions& given) {
  QueryItems query;
  const auto add = [&query](const char* name, const std::string& value) {
    if (!value.empty()) query.emplace_back(name, value);
  };
  const std::string vars =
      search.pipeline.instance_vars.IsObject() ? ToText(search.pipeline.instance_vars) : "";
  if (!search.check.empty()) {
    add("type", "check");
    add("resource_name", search.check);
    add("pipeline_name", search.pipeline.name);
    add("vars", vars);
    return query;
  }
  add("type", given.step_type);
  add("step_name", given.step);
  add("attempt", given.attempt);
  if (!search.job.empty()) {
    add("pipeline_name", search.pipeline.name);
    add("vars", vars);
    add("job_name", search.job);
    add("build_name", search.build);
  } else if (!search.build.empty()) {
    add("build_id", search.build);
  } else {
    add("build_id", std::to_string(FindBuild(target, std::nullopt, "").IntegerAt("id")));
  }
  return query;
}

std::string Describe(const Json& container) {
  std::vector<std::string> parts;
  const auto add = [&](std::string_view title, std::string_view member) {
    const std::string_view value = container.StringAt(member);
    if (!value.empty()) parts.push_back(std::string(title) + ": " + std::string(value));
  };
  add("step", "step_name");
  add("resource", "resource_name");
  add("type", "type");
  if (container.StringAt("type") == "check") add("expires in", "expires_in");
  add("attempt", "attempt");
  return Join(parts, ", ");
}

constexpr std::string_view kExpired =
    "\n\nthey may have expired if your build hasn't recently finished.";

/// The container to go into; nothing if the user chose none.
std::optional<Json> ChooseContainer(Context& context, Target& target, const HijackOptions& given) {
  if (!given.handle.empty()) {
    try {
      return target.api->AskJson({.path = target.TeamPath("/containers/:id", {given.handle})});
    } catch (const CommandError&) {
      throw PlainError("no containers matched the given handle id!" + std::string(kExpired));
    }
  }
  const Search search = SearchOf(target, given);
  const Json found = target.api->AskJson(
      {.path = target.TeamPath("/containers"), .query = QueryOf(target, search, given)});
  JsonArray containers;
  for (const Json& container : found.IsArray() ? found.AsArray() : JsonArray()) {
    const std::string_view state = container.StringAt("state");
    if (state == "created" || state == "failed") containers.push_back(container);
  }
  if (containers.empty()) {
    throw PlainError("no containers matched your search parameters!" + std::string(kExpired));
  }
  std::ranges::sort(containers, {}, [](const Json& container) {
    return std::tuple(container.IntegerAt("build_id"), container.StringAt("resource_name"),
                      container.StringAt("step_name"), container.StringAt("type"));
  });
  if (containers.size() == 1) return containers.front();
  std::vector<std::string> lines;
  for (const Json& container : containers)
    lines.push_back(Describe(container));
  const auto chosen = Choose(context, "Select a container", lines);
  if (!chosen) return std::nullopt;
  return containers[*chosen];
}

Json WindowSize(int fd) {
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) != 0) return {};
  return JsonObject{
      {"window_size", JsonObject{{"columns", int{size.ws_col}}, {"rows", int{size.ws_row}}}}};
}

/// The terminal hands every key on, until the end of this object's life.
class RawTerminal {
 public:
  explicit RawTerminal(const Context& context) : fd_(context.in) {
    if (!context.in_is_terminal || ::tcgetattr(fd_, &before_) != 0) return;
    termios raw = before_;
    ::cfmakeraw(&raw);
    changed_ = ::tcsetattr(fd_, TCSANOW, &raw) == 0;
  }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  ~RawTerminal() {
    if (changed_) ::tcsetattr(fd_, TCSANOW, &before_);
  }

 private:
  int fd_;
  termios before_{};
  bool changed_ = false;
};

/// Reads a descriptor on a thread of its own and hands every piece to the loop at once, as somebody
/// may be typing.
class InputPump {
 public:
  InputPump(Loop& loop, int fd) : loop_(loop), thread_([this, fd] { Run(fd); }) {}
  InputPump(const InputPump&) = delete;
  InputPump& operator=(const InputPump&) = delete;
  ~InputPump() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    taken_.notify_all();
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(stop_.get(), &one, sizeof one);
    thread_.join();
  }
  /// The next bytes, nothing at the end.
  Task<std::string> Read(std::stop_token stop) {
    while (arrived_->bytes.empty() && !arrived_->ended)
      co_await arrived_->signal.Wait(stop);
    const std::string bytes = std::exchange(arrived_->bytes, {});
    {
      const std::lock_guard lock(mutex_);
      waiting_ -= std::min(waiting_, bytes.size());
    }
    taken_.notify_all();
    if (read_.size() < kWaitingMax) read_ += bytes;
    co_return bytes;
  }
  /// What was read so far is read once more: nobody has got it.
  void Rewind() { arrived_->bytes.insert(0, std::exchange(read_, {})); }

 private:
  static constexpr std::size_t kWaitingMax = 1 << 20;
  /// What belongs to the loop's thread; posted work may outlive the pump.
  struct Arrived {
    std::string bytes;
    bool ended = false;
    Signal signal;
  };

  void Hand(std::string bytes) {
    loop_.Post([arrived = arrived_, bytes = std::move(bytes)] {
      if (bytes.empty()) arrived->ended = true;
      arrived->bytes += bytes;
      arrived->signal.Set();
    });
  }

  void Run(int fd) {
    std::array<char, 16384> buffer;
    for (;;) {
      std::array<pollfd, 2> waiting{{{fd, POLLIN, 0}, {stop_.get(), POLLIN, 0}}};
      if (::poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) break;
      if (waiting[1].revents) return;
      if (!waiting[0].revents) continue;
      const ssize_t got = ::read(fd, buffer.data(), buffer.size());
      if (got <= 0) break;
      const auto size = static_cast<std::size_t>(got);
      {
        std::unique_lock lock(mutex_);
        taken_.wait(lock, [this] { return stopping_ || waiting_ < kWaitingMax; });
        if (stopping_) return;
        waiting_ += size;
      }
      Hand({buffer.data(), size});
    }
    Hand("");
  }

  Loop& loop_;
  std::shared_ptr<Arrived> arrived_ = std::make_shared<Arrived>();
  std::string read_;  // for Rewind()
  linux::UniqueFd stop_{::eventfd(0, EFD_CLOEXEC)};
  std::mutex mutex_;
  std::condition_variable taken_;
  std::size_t waiting_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

struct Outcome {
  int status = 0;
  bool no_program = false;
};

/// One process in the container, and the way of its input and output.
class Session {
 public:
  Session(Context& context, Target& target, InputPump& input)
      : context_(context), target_(target), input_(input) {}

  Outcome Run(const std::string& handle, const Json& process) {
    const Interrupts resized(target_.api->loop(), {SIGWINCH},
                             [signal = resized_](int) { signal->Set(); });
    return target_.api->Run(RunTask(handle, process));
  }

 private:
  Task<Outcome> RunTask(std::string handle, Json process) {
    Api& api = *target_.api;
    http::Response head;
    const http::Request request =
        api.MakeRequest({.path = target_.TeamPath("/containers/:id/hijack", {handle})});
    try {
      socket_ = co_await api.client().OpenWebSocket(request, head, 16 << 20, {});
    } catch (const Failure& failure) {
      throw Unreachable(failure.what());
    }
    if (!socket_) {
      Api::Check(head);
      throw CommandError("the server does not open a WebSocket: " + StatusText(head.status));
    }
    co_await Send(std::move(process));
    TaskGroup group(api.loop().executor(), Logger(), "hijack");
    group.Spawn(SendInput(group.stop_token()));
    group.Spawn(SendSizes(group.stop_token()));
    Outcome outcome;
    std::exception_ptr error;
    try {
      outcome = co_await Receive();
    } catch (...) {
      error = std::current_exception();
    }
    group.RequestStop();
    co_await group.Join();
    if (error) std::rethrow_exception(error);
    co_return outcome;
  }

  Task<void> Send(Json message) {
    // Input and sizes come from two coroutines; messages go out one after the other.
    const Semaphore::Permit permit = co_await sending_.Acquire({});
    co_await socket_->Write({.data = ToText(message), .text = true}, {});
  }

  Task<void> SendInput(std::stop_token stop) {
    for (;;) {
      const std::string bytes = co_await input_.Read(stop);
      if (bytes.empty()) break;
      co_await Send(JsonObject{{"stdin", ToBase64(bytes)}});
    }
    co_await Send(JsonObject{{"closed", true}});
  }

  Task<void> SendSizes(std::stop_token stop) {
    for (;;) {
      co_await resized_->Wait(stop);
      if (const Json size = WindowSize(context_.in); !size.IsNull()) {
        co_await Send(JsonObject{{"tty", size}});
      }
    }
  }

  Task<Outcome> Receive() {
    Outcome outcome;
    bool ended = false;
    while (const auto message = co_await socket_->Read({})) {
      const auto json = ParseJson(message->data, {.bytes = 16 << 20});
      if (!json) throw CommandError("the server's message cannot be read: " + json.error().message);
      const std::string_view error = json->StringAt("error");
      const Json* status = json->Find("exit_status");
      if (status && status->IsInteger()) {
        outcome.status = static_cast<int>(status->AsInteger());
        ended = true;
      } else if (json->BoolAt("executable_not_found") ||
                 error.find("executable file not found") != std::string_view::npos) {
        outcome.no_program = true;
        ended = true;
      } else if (!error.empty()) {
        context_.err << Paint(style::kErrored, error, context_.colours) << "\n" << std::flush;
        outcome.status = 255;
        ended = true;
      } else {
        Print(context_.out, json->StringAt("stdout"));
        Print(context_.err, json->StringAt("stderr"));
      }
    }
    if (!ended) {
      context_.err << "the connection to the container broke off\n";
      outcome.status = 255;
    }
    co_return outcome;
  }

  static void Print(std::ostream& to, std::string_view base64) {
    if (base64.empty()) return;
    if (const auto bytes = FromBase64(base64)) to << *bytes << std::flush;
  }

  Context& context_;
  Target& target_;
  InputPump& input_;
  std::unique_ptr<http::WebSocket> socket_;
  Semaphore sending_{1};
  // Shared with posted work, which may outlive the session.
  std::shared_ptr<Signal> resized_ = std::make_shared<Signal>();
};

/// Without -t, the target that has the page's server and team.
void TargetOfUrl(Context& context, const std::string& url) {
  const PageUrl page = ParsePageUrl(url);
  FlyRc file(FlyRcPath(context.environment));
  file.Load();
  for (const auto& [name, saved] : file.targets) {
    if (saved.api != page.origin || saved.team != page.Part("teams")) continue;
    context.target = name;
    return;
  }
  throw CommandError("no target matching url");
}

}  // namespace

int Hijack(Context& context, const Command& command, const Words& words) {
  HijackOptions given;
  Options options;
  given.AddTo(options);
  ParseWords(context, command, options, words);
  if (context.target.empty() && !given.url.empty()) TargetOfUrl(context, given.url);
  Target target = OpenTarget(context, given.team);
  const auto container = ChooseContainer(context, target, given);
  if (!container) return 0;

  const bool some_shell = given.program.empty();
  JsonArray arguments;
  for (std::size_t i = 1; i < given.program.size(); ++i)
    arguments.emplace_back(given.program[i]);
  JsonObject process{{"path", some_shell ? "bash" : given.program.front()},
                     {"args", arguments.empty() ? Json() : Json(arguments)},
                     {"env", JsonArray{"TERM=" + context.Environment("TERM")}},
                     {"dir", container->StringAt("working_directory")},
                     {"privileged", true},
                     {"user", container->StringAt("user")},
                     {"tty", context.out_is_terminal ? WindowSize(1) : Json()}};
  const std::string handle(container->StringAt("id"));
  Outcome outcome;
  {
    const RawTerminal raw(context);
    InputPump input(target.api->loop(), context.in);
    outcome = Session(context, target, input).Run(handle, process);
    if (outcome.no_program && some_shell) {
      context.err << "\rCouldn't find \"bash\" on container, retrying with \"sh\"\n\r"
                  << std::flush;
      process.Set("path", "sh");
      input.Rewind();
      outcome = Session(context, target, input).Run(handle, process);
    }
  }
  return outcome.status;
}

}  // namespace pinion::cli
