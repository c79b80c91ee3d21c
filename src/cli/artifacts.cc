#include "cli/artifacts.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <ostream>
#include <thread>

#include "archive/byte_pipe.h"
#include "archive/codec.h"
#include "archive/tree.h"
#include "archive/unpack.h"
#include "cli/upload.h"

namespace pinion::cli {
namespace {

/// One line on the terminal that says how far a transfer is.
class Progress {
 public:
  Progress(Context& context, std::string what)
      : context_(context), what_(std::move(what)), last_(context.clock.Steady()) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() {
    if (shown_) context_.err << '\n' << std::flush;
  }
  void Add(std::size_t bytes) {
    bytes_ += bytes;
    if (!context_.err_is_terminal) return;
    const SteadyTime now = context_.clock.Steady();
    if (now - last_ < std::chrono::milliseconds(200)) return;
    last_ = now;
    shown_ = true;
    context_.err << '\r' << what_ << ": " << bytes_ / 1024 << " KiB" << std::flush;
  }

 private:
  Context& context_;
  std::string what_;
  SteadyTime last_;
  std::uint64_t bytes_ = 0;
  bool shown_ = false;
};

/// A pipe's bytes as a request's body.
class PipeBody final : public http::BodyReader {
 public:
  PipeBody(archive::BytePipe& pipe, Progress& progress) : pipe_(pipe), progress_(progress) {}
  Task<std::size_t> Read(std::span<char> buffer, std::stop_token stop) override {
    if (at_ == chunk_.size()) {
      chunk_ = co_await pipe_.Read(stop);
      at_ = 0;
    }
    const std::size_t size = std::min(buffer.size(), chunk_.size() - at_);
    std::memcpy(buffer.data(), chunk_.data() + at_, size);
    at_ += size;
    progress_.Add(size);
    co_return size;
  }

 private:
  archive::BytePipe& pipe_;
  Progress& progress_;
  std::string chunk_;
  std::size_t at_ = 0;
};

Task<std::string> ReadAll(http::BodyReader& body) {
  std::string text;
  std::array<char, 16384> buffer;
  while (const std::size_t got = co_await body.Read(buffer, {})) {
    text.append(buffer.data(), got);
    if (text.size() > (1 << 20)) throw Failure(ErrorKind::kTooLarge, "the answer is too long");
  }
  co_return text;
}

Task<http::Response> SendBody(Api& api, http::Request request, http::BodyReader& body) {
  http::StreamedResponse streamed = co_await api.client().Open(std::move(request), &body, {});
  http::Response response{.status = streamed.status, .headers = streamed.headers};
  response.body = co_await ReadAll(*streamed.body);
  co_return response;
}

Task<http::Response> Receive(Api& api, http::Request request, archive::BytePipe& pipe,
                             Progress& progress) {
  http::StreamedResponse streamed = co_await api.client().Open(std::move(request), nullptr, {});
  http::Response response{.status = streamed.status, .headers = streamed.headers};
  if (streamed.status != 200) {
    response.body = co_await ReadAll(*streamed.body);
    co_return response;
  }
  std::string buffer(64 << 10, '\0');
  while (const std::size_t got = co_await streamed.body->Read(buffer, {})) {
    progress.Add(got);
    co_await pipe.Write(buffer.substr(0, got), {});
  }
  pipe.CloseWrite();
  co_return response;
}

/// A thread that works at the other end of a pipe. Its failure is handed on as the pipe's.
class PipeWorker {
 public:
  PipeWorker(archive::BytePipe& pipe, std::function<void()> work)
      : pipe_(pipe), thread_([this, work = std::move(work)] {
          try {
            work();
          } catch (...) {
            error_ = std::current_exception();
            pipe_.Fail(error_);
          }
        }) {}
  PipeWorker(const PipeWorker&) = delete;
  PipeWorker& operator=(const PipeWorker&) = delete;
  ~PipeWorker() {
    if (!thread_.joinable()) return;
    pipe_.Fail(std::make_exception_ptr(Cancelled()));
    thread_.join();
  }
  /// Waits for the work's regular end; throws what it threw.
  void Join() {
    thread_.join();
    if (error_) std::rethrow_exception(error_);
  }

 private:
  archive::BytePipe& pipe_;
  std::exception_ptr error_;
  std::thread thread_;
};

}  // namespace

std::int64_t UploadFolder(Context& context, Target& target, const Upload& upload) {
  Call call{.method = "POST", .path = target.TeamPath("/artifacts")};
  call.query.emplace_back("platform", upload.platform);
  for (const std::string& tag : upload.tags)
    call.query.emplace_back("tags", tag);
  http::Request request = target.api->MakeRequest(call);
  request.headers.Set("Content-Type", "application/octet-stream");
  const std::string what = "uploading " + upload.name;
  http::Response answer;
  try {
    Progress progress(context, what);
    archive::BytePipe pipe;
    PipeWorker worker(pipe, [&] {
      PackFolder(upload.folder, upload.all, pipe.sink());
      pipe.CloseWrite();
    });
    PipeBody body(pipe, progress);
    answer = target.api->Run(SendBody(*target.api, std::move(request), body));
    Api::Check(answer);
    worker.Join();
  } catch (const Failure& failure) {
    throw CommandError(what + ": " + failure.what());
  }
  const auto json = ParseJson(answer.body);
  if (!json) throw CommandError(what + ": the answer is no JSON: " + json.error().message);
  return json->IntegerAt("id");
}

void DownloadArtifact(Context& context, Target& target, const Download& download) {
  const http::Request request = target.api->MakeRequest(
      {.path = target.TeamPath("/artifacts/:id", {std::to_string(download.artifact)})});
  const std::string what = "downloading " + download.name;
  try {
    std::error_code failed;
    std::filesystem::create_directories(download.folder, failed);
    if (failed) throw Failure(ErrorKind::kInvalid, download.folder + ": " + failed.message());
    Progress progress(context, what);
    archive::BytePipe pipe;
    PipeWorker worker(pipe, [&] {
      const auto root = archive::OpenFolder(download.folder);
      const auto tar = archive::MakeDecoder(pipe.source(), archive::Encoding::kGzip);
      archive::Unpack(*tar, root.get(), {.keep_owners = false});
    });
    const http::Response answer = target.api->Run(Receive(*target.api, request, pipe, progress));
    Api::Check(answer);
    worker.Join();
  } catch (const Failure& failure) {
    throw PlainError("downloading failed: " + download.name + ": " + failure.what());
  }
}

}  // namespace pinion::cli
