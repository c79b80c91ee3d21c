// What registries answer: manifests, indexes, configs, lists of tags, challenges, ranges. The input
// is answers, separated by lines "--": STATUS, header lines, an empty line, the body. "@3" in a
// body or header stands for the digest of the third body, so that images can be made that fit
// together.
#include "worker/images/registry_client.h"

#include <charconv>

#include "base/encoding.h"
#include "base/text.h"
#include "fuzz/target.h"

using namespace pinion;
using fuzz::Require;

namespace {

struct Piece {
  registry::HttpAnswer answer;
  std::string digest;
};

/// What the registry of the current input says. One input at a time.
struct Registry {
  std::vector<Piece> pieces;
  std::size_t next = 0;
  std::size_t asked = 0;
  std::string got;
};
Registry* registry_now = nullptr;

std::string FillIn(std::string text, const std::vector<Piece>& later) {
  for (std::size_t at = text.find('@'); at != std::string::npos; at = text.find('@', at + 1)) {
    if (at + 1 >= text.size() || text[at + 1] < '1' || text[at + 1] > '9') continue;
    const auto number = static_cast<std::size_t>(text[at + 1] - '1');
    if (number < later.size() && !later[number].digest.empty()) {
      text.replace(at, 2, later[number].digest);
    }
  }
  return text;
}

Piece Read(std::string_view text, const std::vector<Piece>& all) {
  fuzz::Input input(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
  Piece piece;
  const std::string_view status = input.Until("\n");
  std::from_chars(status.data(), status.data() + status.size(), piece.answer.status);
  if (piece.answer.status < 0 || piece.answer.status > 999) piece.answer.status = 0;
  if (piece.answer.status == 0) piece.answer.error = "broken off";
  while (!input.Rest().empty()) {
    const std::string_view line = input.Until("\n");
    if (line.empty()) break;
    const std::size_t colon = std::min(line.find(':'), line.size());
    std::string_view value = line.substr(std::min(colon + 1, line.size()));
    value = value.substr(0, value.find('\r'));  // as curl gives them out
    piece.answer.headers[ToLower(line.substr(0, colon))] = FillIn(
        std::string(value.substr(std::min(value.find_first_not_of(' '), value.size()))), all);
  }
  piece.answer.body = FillIn(std::string(input.Rest()), all);
  piece.digest = "sha256:" + ToHex(Sha256(piece.answer.body));
  return piece;
}

Registry ReadAll(std::string_view text) {
  fuzz::Input input(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
  std::vector<std::string_view> parts;
  while (!input.Rest().empty() && parts.size() < 9)
    parts.push_back(input.Until("\n--\n"));
  Registry made;
  made.pieces.resize(parts.size());
  // From the end: what comes first may name what comes later.
  for (std::size_t i = parts.size(); i-- > 0;)
    made.pieces[i] = Read(parts[i], made.pieces);
  return made;
}

template <class Work>
void Try(Work work) {
  try {
    work();
  } catch (const Failure& failure) {
    Require(*failure.what() != '\0' && failure.error().kind != ErrorKind::kInternal,
            "a registry's answer is taken for a fault of this program", failure.what());
  }
}

class Counting final : public archive::ByteSink {
 public:
  void Write(std::string_view bytes) override { bytes_ += bytes; }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

void CheckImage(const registry::Image& image) {
  Require(registry::IsDigest(image.digest) && image.layers.size() == image.diff_ids.size(),
          "an image does not fit together");
  for (const auto& layer : image.layers)
    Require(registry::IsDigest(layer.digest), "a layer without a digest");
  Require("sha256:" + ToHex(Sha256(image.manifest.text)) == image.manifest.digest,
          "a manifest that is not its digest's");
}

void Pull(registry::Client& client, const std::string& reference,
          const registry::Platform& platform) {
  std::optional<registry::Image> image;
  Try([&] { image = client.GetImage(reference, platform, {}); });
  if (!image) return;
  CheckImage(*image);
  for (const auto& layer : image->layers) {
    Counting sink;
    bool whole = false;
    Try([&] {
      client.FetchBlob(layer, sink, {});
      whole = true;
    });
    Require(!whole || "sha256:" + ToHex(Sha256(sink.bytes())) == layer.digest,
            "a layer that is not its digest's");
    Require(sink.bytes().size() <= layer.size, "a layer is longer than it says");
  }
}

void Push(registry::Client& client) {
  const std::string content = "content";
  const registry::Blob blob{.digest = "sha256:" + ToHex(Sha256(content)), .size = content.size()};
  Try([&] { static_cast<void>(client.HasBlob(blob.digest, {})); });
  Try([&] {
    client.PushBlob(blob, [&content] { return std::make_unique<archive::TextSource>(content); },
                    {});
  });
  Try([&] { static_cast<void>(client.PushManifest("latest", "application/json", "{}", {})); });
}

}  // namespace

// In the place of the one that speaks HTTP.
namespace pinion::registry {

struct HttpSession::Impl {};
HttpSession::HttpSession(const HttpOptions&) {}
HttpSession::~HttpSession() = default;
std::string_view HttpAnswer::Header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? std::string_view() : std::string_view(found->second);
}

HttpAnswer HttpSession::Perform(const HttpRequest& request, const std::stop_token&, OnHead on_head,
                                Sink sink) {
  Registry& now = *registry_now;
  Require(++now.asked < 20'000, "a client asks without end");
  Require(request.url.find_first_of("\r\n") == std::string::npos, "an URL of several lines",
          request.url);
  for (const std::string& header : request.headers)
    Require(header.find_first_of("\r\n") == std::string::npos, "a header of several lines", header);
  if (request.upload) {
    char buffer[4096];
    while (request.upload(buffer, sizeof buffer) > 0) {
    }
  }
  HttpAnswer answer;
  const std::size_t digest = request.url.rfind("sha256:");
  const Piece* found = nullptr;
  if (digest != std::string::npos && request.method == "GET") {
    for (const Piece& piece : now.pieces) {
      if (request.url.compare(digest, std::string::npos, piece.digest) == 0) found = &piece;
    }
  }
  if (!found) {
    if (now.next >= now.pieces.size()) {
      answer.status = 404;
      answer.url = request.url;
      return answer;
    }
    found = &now.pieces[now.next++];
  }
  answer = found->answer;
  answer.url = request.url;
  std::size_t start = 0;
  for (const std::string& header : request.headers) {
    if (header.starts_with("Range: bytes=")) {
      std::from_chars(header.data() + 13, header.data() + header.size(), start);
    }
  }
  if (answer.headers.contains("content-range") && answer.headers["content-range"] == "bytes 0-") {
    answer.headers["content-range"] = "bytes " + std::to_string(start) + "-";
  }
  if (on_head && on_head(answer)) {
    // A range comes in two parts: the second only if it is asked for.
    const std::string body = std::exchange(answer.body, {});
    const bool part = answer.status == 206;
    const std::size_t from = part ? std::min(start, body.size()) : 0;
    const std::size_t count = part && start == 0 ? body.size() / 2 : body.size();
    sink(std::string_view(body).substr(from, count));
    if (from + count < body.size()) answer.error = "broken off";
  } else if (answer.body.size() > request.body_bytes_max) {
    answer.error = "too large";
  }
  return answer;
}

}  // namespace pinion::registry

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const unsigned choice = input.Choice(32);
  Registry answers = ReadAll(input.Rest());
  registry_now = &answers;
  const std::string_view name = input.Until("\n");
  if (const auto repository = registry::ParseRepository(name)) {
    const auto again = registry::ParseRepository(repository->Text());
    Require(again.has_value() && again->Text() == repository->Text(),
            "a repository's own name is another's", repository->Text());
  }
  registry::Options options;
  options.retry_pause = Duration(0);
  options.tries_max = 2;
  options.insecure = (choice & 1U) != 0;
  if ((choice & 2U) != 0) options.username = "user";
  options.push = (choice & 4U) != 0;
  registry::Client client({.host = (choice & 8U) != 0 ? "localhost:5000" : "index.docker.io",
                           .name = "library/busybox"},
                          options);
  const registry::Platform platform{.architecture = (choice & 16U) != 0 ? "arm64" : "amd64",
                                    .variant = (choice & 8U) != 0 ? "v8" : ""};
  if (options.push) {
    Push(client);
  } else {
    Pull(client, "latest", platform);
    answers.next = 0;
    Try([&] {
      const auto digest = client.ResolveTag("latest", {});
      Require(!digest || registry::IsDigest(*digest), "a tag is resolved to no digest");
      if (digest) Pull(client, *digest, platform);
    });
  }
  answers.next = 0;
  Try([&] { Require(client.ListTags({}).size() <= 100'000, "too many tags"); });
  registry_now = nullptr;
  return 0;
}
