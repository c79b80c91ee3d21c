#include "kit/resource.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>

namespace pinion::resource {
namespace {

constexpr std::size_t kRequestBytesMax = 16 << 20;

std::string ReadAll(int fd) {
  std::string content;
  std::array<char, 65536> buffer;
  for (;;) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Failure(SystemError("read standard input", errno));
    if (got == 0) return content;
    content.append(buffer.data(), static_cast<std::size_t>(got));
    if (content.size() > kRequestBytesMax) {
      throw Failure(ErrorKind::kTooLarge, "the request on standard input is over 16 MiB");
    }
  }
}

Request ReadRequest(int argc, char** argv) {
  Request request;
  request.action = std::filesystem::path(argv[0]).filename().string();
  if (request.action != "check" && request.action != "in" && request.action != "out") {
    throw Failure(ErrorKind::kInvalid, "start this program as check, in or out");
  }
  if (request.action != "check") {
    if (argc < 2) throw Failure(ErrorKind::kInvalid, "usage: " + request.action + " FOLDER");
    request.folder = argv[1];
  }
  auto json = ParseJson(ReadAll(STDIN_FILENO), {.bytes = kRequestBytesMax});
  if (!json) throw Failure(std::move(json.error()).Context("the request on standard input"));
  const auto take = [&](std::string_view name, Json& out) {
    const Json* member = json->Find(name);
    if (member && !member->IsNull()) out = *member;
  };
  take("source", request.source);
  take("params", request.params);
  take("version", request.version);
  return request;
}

}  // namespace

void Say(std::string_view text) {
  std::fprintf(stderr, "%.*s\n", static_cast<int>(text.size()), text.data());
}

void RefuseUnknown(const Json& object, std::string_view what,
                   const std::vector<std::string_view>& known) {
  if (!object.IsObject()) {
    throw Failure(ErrorKind::kInvalid, std::string(what) + " must be an object");
  }
  for (const auto& [name, value] : object.AsObject()) {
    if (std::ranges::find(known, name) == known.end()) {
      throw Failure(ErrorKind::kInvalid, "unknown field '" + name + "' in " + std::string(what));
    }
  }
}

int Main(int argc, char** argv, Json (*run)(const Request&)) {
  try {
    const Json answer = run(ReadRequest(argc, argv));
    std::string text = ToText(answer) + "\n";
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() ||
        std::fflush(stdout) != 0) {
      throw Failure(SystemError("write standard output", errno));
    }
    return 0;
  } catch (...) {
    Say("\x1b[31merror:\x1b[0m " + CurrentError().message);
    return 1;
  }
}

}  // namespace pinion::resource
