#include <fcntl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>

#include "api/handlers.h"
#include "api/server.h"
#include "async/thread_pool.h"
#include "base/text.h"

/// The client, for `fly sync` and the web pages' links: it is this very program under another name.
namespace pinion::api {
namespace {

constexpr const char* kProgram = "/proc/self/exe";
constexpr std::size_t kPieceBytes = 1 << 20;

/// The processor as the names of downloads have it.
std::string OwnArchitecture() {
  utsname system{};
  ::uname(&system);
  const std::string machine = system.machine;
  if (machine == "x86_64") return "amd64";
  return machine == "aarch64" ? "arm64" : machine;
}

bool IsPlainName(std::string_view name) {
  return !name.empty() && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
  });
}

class File {
 public:
  explicit File(const char* path) : descriptor_(::open(path, O_RDONLY | O_CLOEXEC)) {
    struct stat status{};
    if (descriptor_ < 0 || ::fstat(descriptor_, &status) != 0) {
      throw Failure(SystemError("open the program's own file", errno));
    }
    size_ = static_cast<std::size_t>(status.st_size);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  std::size_t size() const { return size_; }
  std::string Read(std::size_t offset) const {
    std::string piece(std::min(kPieceBytes, size_ - offset), '\0');
    const ssize_t count =
        ::pread(descriptor_, piece.data(), piece.size(), static_cast<off_t>(offset));
    if (count <= 0) throw Failure(SystemError("read the program's own file", errno));
    piece.resize(static_cast<std::size_t>(count));
    return piece;
  }

 private:
  int descriptor_;
  std::size_t size_ = 0;
};

}  // namespace

Task<Answer> DownloadCLI(Call& call) {
  const std::string platform = ToLower(call.query.Get("platform").value_or(""));
  const std::string architecture(call.query.Get("arch").value_or(""));
  if (!IsPlainName(platform) || !IsPlainName(architecture)) {
    co_return TextAnswer(400, "platform and arch must be given, as in ?platform=linux&arch=amd64");
  }
  if (platform != "linux" || architecture != OwnArchitecture() || !call.services.files) {
    co_return TextAnswer(404, "this server has no client for " + platform + "/" + architecture +
                                  ": install one that was built for it");
  }
  const File file(kProgram);
  http::Response head = StreamHead(call, 200, "application/octet-stream");
  head.headers.Set("Content-Length", std::to_string(file.size()));
  head.headers.Set("Content-Disposition", "attachment; filename=fly");
  call.answered = true;
  const std::stop_token stop = call.exchange.stop();
  http::BodyWriter* out = co_await call.exchange.Start(std::move(head), false);
  for (std::size_t offset = 0; offset < file.size();) {
    const std::string piece =
        co_await call.services.files->Run([&file, offset] { return file.Read(offset); });
    offset += piece.size();
    co_await out->Write(piece, stop);
  }
  co_await out->Finish(stop);
  co_return std::nullopt;
}

}  // namespace pinion::api
