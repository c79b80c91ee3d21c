#include "worker/images/registry_client.h"

#include <sys/utsname.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include "base/encoding.h"
#include "base/text.h"

namespace pinion::registry {
namespace {

constexpr std::size_t kManifestMax = 4 << 20;
constexpr std::size_t kConfigMax = 8 << 20;
constexpr std::size_t kLayersMax = 500;

constexpr std::string_view kOciIndex = "application/vnd.oci.image.index.v1+json";
constexpr std::string_view kOciManifest = "application/vnd.oci.image.manifest.v1+json";
constexpr std::string_view kDockerList =
    "application/vnd.docker.distribution.manifest.list.v2+json";
constexpr std::string_view kDockerManifest = "application/vnd.docker.distribution.manifest.v2+json";

bool IsHostCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '-' || c == ':' || c == '[' || c == ']';
}

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
}

bool IsTagCharacter(char c) {
  return IsNameCharacter(c) || (c >= 'A' && c <= 'Z');
}

// Registries on this machine or a private network usually speak plain HTTP; as go-containerregistry
// decides it for the registry-image resource.
bool MayBePlain(std::string_view host_and_port) {
  const std::string_view host = host_and_port.substr(0, host_and_port.rfind(':'));
  const auto private_172 = [&] {
    if (!host.starts_with("172.")) return false;
    const std::string_view second = host.substr(4, host.substr(4).find('.'));
    return second.size() == 2 && second >= "16" && second <= "31";
  };
  return host == "localhost" || host.ends_with(".localhost") || host.ends_with(".local") ||
         host.starts_with("127.") || host == "[::1]" || host.starts_with("10.") ||
         host.starts_with("192.168.") || private_172();
}

// Waits, or returns early by throwing Cancelled.
void Pause(Duration duration, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  never.wait_for(lock, stop, duration, [] { return false; });
  if (stop.stop_requested()) throw Cancelled();
}

/// The parts of `Bearer realm="…",service="…",scope="…"`.
std::map<std::string, std::string> ParseChallenge(std::string_view text) {
  std::map<std::string, std::string> parts;
  const std::size_t space = text.find(' ');
  parts[""] = ToLower(text.substr(0, space));
  std::string_view rest = space == std::string_view::npos ? "" : text.substr(space + 1);
  while (!rest.empty()) {
    const std::size_t equals = rest.find('=');
    if (equals == std::string_view::npos) break;
    const std::string name = ToLower(Trim(rest.substr(0, equals)));
    rest.remove_prefix(equals + 1);
    std::string value;
    if (rest.starts_with('"')) {
      const std::size_t end = rest.find('"', 1);
      value = rest.substr(1, end == std::string_view::npos ? rest.size() : end - 1);
      rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    } else {
      value = Trim(rest.substr(0, rest.find(',')));
    }
    const std::size_t comma = rest.find(',');
    rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);
    parts.try_emplace(name, value);
  }
  return parts;
}

// What a registry says in {"errors":[{"code","message"}]}, shortened.
std::string Explanation(const HttpAnswer& answer) {
  if (!answer.error.empty()) return answer.error;
  std::string text = "status " + std::to_string(answer.status);
  if (auto json = ParseJson(answer.body)) {
    const Json* errors = json->Find("errors");
    if (errors && errors->IsArray() && !errors->AsArray().empty()) {
      const Json& first = errors->AsArray().front();
      text += " " + std::string(first.StringAt("code")) + " " +
              std::string(first.StringAt("message").substr(0, 300));
    }
  }
  return text;
}

ErrorKind KindOf(const HttpAnswer& answer) {
  switch (answer.status) {
    case 401:
      return ErrorKind::kUnauthorized;
    case 403:
      return ErrorKind::kForbidden;
    case 404:
      return ErrorKind::kNotFound;
    default:
      break;
  }
  const bool passing = answer.status == 0 || answer.status == 429 || answer.status >= 500;
  return passing || !answer.error.empty() ? ErrorKind::kUnavailable : ErrorKind::kInvalid;
}

}  // namespace

Result<Repository> ParseRepository(std::string_view text) {
  const auto wrong = [&] {
    return Fail(ErrorKind::kInvalid, "'" + std::string(text.substr(0, 200)) +
                                         "' is not the name of an image repository");
  };
  Repository repository;
  std::string_view rest = text;
  const std::size_t slash = text.find('/');
  const std::string_view first = text.substr(0, slash);
  if (slash != std::string_view::npos &&
      (first.find_first_of(".:") != std::string_view::npos || first == "localhost")) {
    repository.host = first;
    rest = text.substr(slash + 1);
  } else {
    repository.host = "index.docker.io";
  }
  if (repository.host == "docker.io" || repository.host == "registry-1.docker.io") {
    repository.host = "index.docker.io";
  }
  if (repository.host == "index.docker.io" && rest.find('/') == std::string_view::npos) {
    repository.name = "library/";
  }
  repository.name += rest;
  if (rest.empty() || text.size() > 500 || !std::ranges::all_of(repository.host, IsHostCharacter)) {
    return wrong();
  }
  for (const std::string_view part : Split(repository.name, '/')) {
    if (part.empty() || part.starts_with('.') || !std::ranges::all_of(part, IsNameCharacter)) {
      return wrong();
    }
  }
  return repository;
}

bool IsDigest(std::string_view text) {
  return text.starts_with("sha256:") && text.size() == 71 &&
         text.substr(7).find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string MachineArchitecture() {
  utsname name{};
  ::uname(&name);
  const std::string_view machine = name.machine;
  if (machine == "x86_64") return "amd64";
  if (machine == "aarch64") return "arm64";
  if (machine.starts_with("armv")) return "arm";
  return std::string(machine);
}

struct Client::Impl {
  Repository repository;
  Options options;
  std::mutex mutex;
  std::string base;           // "https://host"
  std::string authorization;  // value of the header
  std::vector<std::unique_ptr<HttpSession>> idle;

  /// A session that goes back when the call ends.
  class Lease {
   public:
    explicit Lease(Impl& impl) : impl_(impl) {
      const std::lock_guard lock(impl.mutex);
      if (!impl.idle.empty()) {
        session_ = std::move(impl.idle.back());
        impl.idle.pop_back();
        return;
      }
      HttpOptions http;
      http.ca_certificates = impl.options.ca_certificates;
      http.insecure = impl.options.insecure;
      http.stall_timeout = impl.options.stall_timeout;
      session_ = std::make_unique<HttpSession>(http);
    }
    Lease(const Lease&) = delete;
    ~Lease() {
      const std::lock_guard lock(impl_.mutex);
      impl_.idle.push_back(std::move(session_));
    }
    HttpSession* operator->() { return session_.get(); }

   private:
    Impl& impl_;
    std::unique_ptr<HttpSession> session_;
  };

  std::string Host() const {
    return repository.host == "index.docker.io" ? "registry-1.docker.io" : repository.host;
  }
  std::string Named(std::string_view what) const {
    return repository.Text() + (what.empty() ? "" : "@") + std::string(what);
  }

  // Finds out whether the registry speaks HTTPS or, where that may be, plain HTTP.
  std::string Base(const std::stop_token& stop) {
    {
      const std::lock_guard lock(mutex);
      if (!base.empty()) return base;
    }
    std::vector<std::string> schemes{"https://"};
    if (options.insecure || MayBePlain(repository.host)) schemes.emplace_back("http://");
    std::string reason;
    for (int tries = 0; tries < options.tries_max; ++tries) {
      if (tries > 0) Pause(options.retry_pause * (1 << std::min(tries - 1, 4)), stop);
      for (const std::string& scheme : schemes) {
        Lease session(*this);
        HttpRequest request;
        request.url = scheme + Host() + "/v2/";
        const HttpAnswer answer = session->Perform(request, stop);
        if (answer.error.empty() && answer.status < 500) {
          const std::lock_guard lock(mutex);
          base = scheme + Host();
          return base;
        }
        // The first scheme's reason is the interesting one only if it is the only one.
        reason = scheme + Host() + ": " + Explanation(answer);
      }
    }
    throw Failure(ErrorKind::kUnavailable, "registry cannot be reached: " + reason);
  }

  std::string Authorization() {
    const std::lock_guard lock(mutex);
    return authorization;
  }

  // Answers a 401; throws if there is nothing to answer with.
  void Authorize(const HttpAnswer& refused, const std::stop_token& stop) {
    auto challenge = ParseChallenge(refused.Header("www-authenticate"));
    const bool known = !options.username.empty() || !options.password.empty();
    const std::string basic = "Basic " + ToBase64(options.username + ":" + options.password);
    if (challenge[""] == "basic" && known) {
      const std::lock_guard lock(mutex);
      authorization = basic;
      return;
    }
    const std::string realm = challenge["realm"];
    if (challenge[""] != "bearer" || realm.empty()) {
      throw Failure(ErrorKind::kUnauthorized, known ? "the registry does not accept the credentials"
                                                    : "the registry asks for credentials");
    }
    if (!realm.starts_with("https://") && known && refused.url.starts_with("https://")) {
      throw Failure(ErrorKind::kInvalid, "the registry asks to send the password unencrypted to " +
                                             realm.substr(0, 200));
    }
    HttpRequest request;
    request.url =
        realm + (realm.find('?') == std::string::npos ? "?" : "&") + "scope=" +
        PercentEncode("repository:" + repository.name + (options.push ? ":pull,push" : ":pull"));
    if (!challenge["service"].empty()) {
      request.url += "&service=" + PercentEncode(challenge["service"]);
    }
    if (known) request.headers.push_back("Authorization: " + basic);
    HttpAnswer answer;
    for (int tries = 0; tries < options.tries_max; ++tries) {
      if (tries > 0) Pause(options.retry_pause * (1 << std::min(tries - 1, 4)), stop);
      Lease session(*this);
      answer = session->Perform(request, stop);
      if (KindOf(answer) != ErrorKind::kUnavailable) break;
    }
    auto json = ParseJson(answer.body);
    std::string token;
    if (answer.status == 200 && json) {
      token = json->StringAt("token");
      if (token.empty()) token = json->StringAt("access_token");
    }
    if (token.empty() || token.find_first_of("\r\n") != std::string::npos) {
      throw Failure(answer.status == 200 ? ErrorKind::kInvalid : KindOf(answer),
                    "no token from " + realm.substr(0, 200) + ": " + Explanation(answer));
    }
    const std::lock_guard lock(mutex);
    authorization = "Bearer " + token;
  }

  // One call, authorised when asked; the network's failures are left to the caller.
  HttpAnswer Once(HttpRequest request, const std::stop_token& stop,
                  const HttpSession::OnHead& on_head = {}, const HttpSession::Sink& sink = {}) {
    const std::vector<std::string> headers = request.headers;
    for (bool again = false;; again = true) {
      request.headers = headers;
      const std::string value = Authorization();
      if (!value.empty()) request.headers.push_back("Authorization: " + value);
      HttpAnswer answer;
      {
        Lease session(*this);
        answer = session->Perform(request, stop, on_head, sink);
      }
      if (answer.status != 401 || again) return answer;
      Authorize(answer, stop);
    }
  }

  // A call that may be repeated; tries again when the network or the registry has a bad moment.
  HttpAnswer Repeat(const HttpRequest& request, const std::stop_token& stop) {
    HttpAnswer answer;
    for (int tries = 0; tries < options.tries_max; ++tries) {
      if (tries > 0) Pause(options.retry_pause * (1 << std::min(tries - 1, 4)), stop);
      answer = Once(request, stop);
      if (KindOf(answer) != ErrorKind::kUnavailable) return answer;
    }
    return answer;
  }

  [[noreturn]] void Refuse(const HttpAnswer& answer, std::string_view what) const {
    throw Failure(KindOf(answer), Named(what) + ": " + Explanation(answer));
  }

  std::string Url(const std::string& rest, const std::stop_token& stop) {
    return Base(stop) + "/v2/" + repository.name + rest;
  }
};

Client::Client(Repository repository, Options options)
    : repository_(std::move(repository)), impl_(std::make_unique<Impl>()) {
  impl_->repository = repository_;
  impl_->options = std::move(options);
}

Client::~Client() = default;

namespace {

void CheckReference(const std::string& reference) {
  if (IsDigest(reference)) return;
  if (reference.empty() || reference.size() > 128 || reference.starts_with('.') ||
      reference.starts_with('-') || !std::ranges::all_of(reference, IsTagCharacter)) {
    throw Failure(ErrorKind::kInvalid,
                  "'" + reference.substr(0, 200) + "' is neither a tag nor a sha256 digest");
  }
}

HttpRequest ManifestRequest(std::string method, std::string url) {
  HttpRequest request;
  request.method = std::move(method);
  request.url = std::move(url);
  request.body_bytes_max = kManifestMax;
  for (const std::string_view type : {kOciIndex, kOciManifest, kDockerList, kDockerManifest}) {
    request.headers.push_back("Accept: " + std::string(type));
  }
  return request;
}

}  // namespace

std::optional<std::string> Client::ResolveTag(const std::string& tag, const std::stop_token& stop) {
  CheckReference(tag);
  const HttpAnswer answer =
      impl_->Repeat(ManifestRequest("HEAD", impl_->Url("/manifests/" + tag, stop)), stop);
  if (answer.status == 404) return std::nullopt;
  std::string digest(answer.Header("docker-content-digest"));
  if (answer.status == 200 && IsDigest(digest)) return digest;
  // Some registries do not answer HEAD, or leave the digest out.
  try {
    return GetManifest(tag, stop).digest;
  } catch (const Failure& failure) {
    if (failure.error().kind == ErrorKind::kNotFound) return std::nullopt;
    throw;
  }
}

std::vector<std::string> Client::ListTags(const std::stop_token& stop) {
  std::vector<std::string> tags;
  std::string url = impl_->Url("/tags/list?n=1000", stop);
  for (int page = 0; page < 1000 && !url.empty(); ++page) {
    HttpRequest request;
    request.url = url;
    request.body_bytes_max = 8 << 20;
    const HttpAnswer answer = impl_->Repeat(request, stop);
    if (answer.status == 404) return tags;
    if (answer.status != 200 || !answer.error.empty()) impl_->Refuse(answer, "");
    const Json list = ValueOrThrow(ParseJson(answer.body));
    const Json* names = list.Find("tags");
    if (names && names->IsArray()) {
      for (const Json& name : names->AsArray()) {
        if (name.IsString()) tags.push_back(name.AsString());
        if (tags.size() > 100'000) {
          throw Failure(ErrorKind::kTooLarge, impl_->Named("") + ": more than 100,000 tags");
        }
      }
    }
    // Link: </v2/x/tags/list?last=…>; rel="next"
    const std::string_view link = answer.Header("link");
    const std::size_t begin = link.find('<');
    const std::size_t end = link.find('>');
    url.clear();
    if (begin != std::string_view::npos && end != std::string_view::npos && end > begin &&
        link.substr(end).find("next") != std::string_view::npos) {
      const std::string_view next = link.substr(begin + 1, end - begin - 1);
      if (next.starts_with('/')) url = impl_->Base(stop) + std::string(next);
    }
  }
  return tags;
}

Manifest Client::GetManifest(const std::string& reference, const std::stop_token& stop) {
  CheckReference(reference);
  const HttpAnswer answer =
      impl_->Repeat(ManifestRequest("GET", impl_->Url("/manifests/" + reference, stop)), stop);
  if (answer.status != 200 || !answer.error.empty()) impl_->Refuse(answer, reference);
  Manifest manifest;
  manifest.text = answer.body;
  manifest.digest = "sha256:" + ToHex(Sha256(manifest.text));
  const std::string_view said = answer.Header("docker-content-digest");
  const std::string want = IsDigest(reference) ? reference : std::string(said);
  if (!want.empty() && want != manifest.digest) {
    throw Failure(ErrorKind::kInvalid, impl_->Named(reference) +
                                           ": the registry sent a manifest of digest " +
                                           manifest.digest + " instead of " + want);
  }
  const auto json = ParseJson(manifest.text);
  if (!json || !json->IsObject()) {
    throw Failure(ErrorKind::kInvalid,
                  impl_->Named(reference) + ": the manifest is no JSON object");
  }
  manifest.media_type = json->StringAt("mediaType");
  if (manifest.media_type.empty()) {
    const std::string_view type = answer.Header("content-type");
    manifest.media_type = Trim(type.substr(0, type.find(';')));
  }
  return manifest;
}

namespace {

Blob ReadDescriptor(const Json* json) {
  Blob blob;
  if (!json || !json->IsObject()) throw Failure(ErrorKind::kInvalid, "a descriptor is missing");
  blob.digest = json->StringAt("digest");
  blob.media_type = json->StringAt("mediaType");
  const std::int64_t size = json->IntegerAt("size", -1);
  if (!IsDigest(blob.digest)) {
    throw Failure(ErrorKind::kInvalid, "'" + blob.digest.substr(0, 100) + "' is no sha256 digest");
  }
  if (size < 0) throw Failure(ErrorKind::kInvalid, "the size of " + blob.digest + " is missing");
  blob.size = static_cast<std::uint64_t>(size);
  return blob;
}

// The index's manifest for a platform: the exact variant, or the one without, or any of it.
std::string ChooseManifest(const Json& index, const Platform& platform) {
  const std::string architecture =
      platform.architecture.empty() ? MachineArchitecture() : platform.architecture;
  const Json* manifests = index.Find("manifests");
  std::string best;
  int best_rank = -1;
  std::string offered;
  if (manifests && manifests->IsArray()) {
    for (const Json& entry : manifests->AsArray()) {
      const Json* at = entry.Find("platform");
      if (!at) continue;
      const std::string os(at->StringAt("os"));
      const std::string variant(at->StringAt("variant"));
      const std::string name = os + "/" + std::string(at->StringAt("architecture")) +
                               (variant.empty() ? "" : "/" + variant);
      if (os != "unknown" && offered.size() < 300) offered += (offered.empty() ? "" : ", ") + name;
      if (os != platform.os || at->StringAt("architecture") != architecture) continue;
      int rank = variant == platform.variant ? 2 : variant.empty() ? 1 : 0;
      // arm64's plain form is v8.
      if (architecture == "arm64" && platform.variant.empty() && variant == "v8") rank = 2;
      if (rank > best_rank) {
        best_rank = rank;
        best = entry.StringAt("digest");
      }
    }
  }
  if (best.empty()) {
    throw Failure(ErrorKind::kNotFound, "the image is not made for " + platform.os + "/" +
                                            architecture + ", only for " + offered);
  }
  return best;
}

}  // namespace

Image Client::GetImage(const std::string& reference, const Platform& platform,
                       const std::stop_token& stop) {
  Manifest manifest = GetManifest(reference, stop);
  Image image;
  image.digest = manifest.digest;
  try {
    Json json = ValueOrThrow(ParseJson(manifest.text));
    const bool index = manifest.media_type == kOciIndex || manifest.media_type == kDockerList ||
                       (json.Find("manifests") && !json.Find("layers"));
    if (index) {
      manifest = GetManifest(ChooseManifest(json, platform), stop);
      json = ValueOrThrow(ParseJson(manifest.text));
    }
    if (manifest.media_type != kOciManifest && manifest.media_type != kDockerManifest) {
      throw Failure(ErrorKind::kInvalid, "manifests of type '" +
                                             manifest.media_type.substr(0, 100) +
                                             "' are not supported: push the image again with a "
                                             "current tool");
    }
    image.config_blob = ReadDescriptor(json.Find("config"));
    const Json* layers = json.Find("layers");
    if (!layers || !layers->IsArray() || layers->AsArray().size() > kLayersMax) {
      throw Failure(ErrorKind::kInvalid, "the manifest has no list of at most " +
                                             std::to_string(kLayersMax) + " layers");
    }
    for (const Json& layer : layers->AsArray())
      image.layers.push_back(ReadDescriptor(&layer));
    image.config = ValueOrThrow(ParseJson(GetBlob(image.config_blob, kConfigMax, stop)));
    const Json* file_system = image.config.Find("rootfs");
    const Json* diff_ids = file_system ? file_system->Find("diff_ids") : nullptr;
    if (diff_ids && diff_ids->IsArray()) {
      for (const Json& id : diff_ids->AsArray()) {
        if (!id.IsString() || !IsDigest(id.AsString())) {
          throw Failure(ErrorKind::kInvalid, "a diff id is no sha256 digest");
        }
        image.diff_ids.push_back(id.AsString());
      }
    }
    if (image.diff_ids.size() != image.layers.size()) {
      throw Failure(ErrorKind::kInvalid, "the manifest has " + std::to_string(image.layers.size()) +
                                             " layers but the config " +
                                             std::to_string(image.diff_ids.size()));
    }
  } catch (const Failure& failure) {
    throw Failure(Error(failure.error()).Context("image " + impl_->Named(reference)));
  }
  image.manifest = std::move(manifest);
  return image;
}

std::string Client::GetBlob(const Blob& blob, std::size_t limit, const std::stop_token& stop) {
  if (blob.size > limit) {
    throw Failure(ErrorKind::kTooLarge,
                  "blob " + blob.digest + " is larger than " + std::to_string(limit) + " bytes");
  }
  archive::TextSink sink;
  FetchBlob(blob, sink, stop);
  return sink.text();
}

void Client::FetchBlob(const Blob& blob, archive::ByteSink& sink, const std::stop_token& stop) {
  if (!IsDigest(blob.digest)) throw Failure(ErrorKind::kInvalid, "not a digest: " + blob.digest);
  archive::Sha256Stream hash;
  std::uint64_t reached = 0;
  std::uint64_t skip = 0;
  HttpAnswer answer;
  const auto on_head = [&](const HttpAnswer& head) {
    if (head.status == 200) {
      skip = reached;  // it does not know ranges and begins anew
      return true;
    }
    if (head.status != 206) return false;
    const std::string want = "bytes " + std::to_string(reached) + "-";
    if (!head.Header("content-range").starts_with(want)) {
      throw Failure(ErrorKind::kInvalid,
                    "blob " + blob.digest + ": the registry sent another range than " + want);
    }
    skip = 0;
    return true;
  };
  const auto take = [&](std::string_view bytes) {
    const std::size_t skipped = std::min<std::uint64_t>(skip, bytes.size());
    skip -= skipped;
    bytes.remove_prefix(skipped);
    if (reached + bytes.size() > blob.size) {
      throw Failure(ErrorKind::kInvalid, "blob " + blob.digest + " is longer than the " +
                                             std::to_string(blob.size) +
                                             " bytes of its descriptor");
    }
    reached += bytes.size();
    hash.Add(bytes);
    sink.Write(bytes);
  };
  int tries = 0;
  while (true) {
    HttpRequest request;
    request.url = impl_->Url("/blobs/" + blob.digest, stop);
    if (reached > 0) request.headers.push_back("Range: bytes=" + std::to_string(reached) + "-");
    const std::uint64_t before = reached;
    answer = impl_->Once(request, stop, on_head, take);
    if (reached == blob.size && (answer.status == 200 || answer.status == 206)) break;
    const bool cut = answer.status == 200 || answer.status == 206;
    if (!cut && KindOf(answer) != ErrorKind::kUnavailable) {
      impl_->Refuse(answer, blob.digest);
    }
    tries = reached > before ? 0 : tries + 1;
    if (tries >= impl_->options.tries_max) {
      throw Failure(ErrorKind::kUnavailable,
                    impl_->Named(blob.digest) + ": broke off after " + std::to_string(reached) +
                        " of " + std::to_string(blob.size) + " bytes: " + Explanation(answer));
    }
    Pause(impl_->options.retry_pause * (1 << std::min(tries, 4)), stop);
  }
  const std::string digest = "sha256:" + hash.Hex();
  if (digest != blob.digest) {
    throw Failure(ErrorKind::kInvalid,
                  impl_->Named(blob.digest) + ": the registry sent content of digest " + digest);
  }
}

bool Client::HasBlob(const std::string& digest, const std::stop_token& stop) {
  HttpRequest request;
  request.method = "HEAD";
  request.url = impl_->Url("/blobs/" + digest, stop);
  const HttpAnswer answer = impl_->Repeat(request, stop);
  if (answer.status == 404) return false;
  if (answer.status != 200 || !answer.error.empty()) impl_->Refuse(answer, digest);
  return true;
}

void Client::PushBlob(const Blob& blob,
                      const std::function<std::unique_ptr<archive::ByteSource>()>& open,
                      const std::stop_token& stop) {
  if (HasBlob(blob.digest, stop)) return;
  HttpAnswer answer;
  for (int tries = 0; tries < impl_->options.tries_max; ++tries) {
    if (tries > 0) Pause(impl_->options.retry_pause * (1 << std::min(tries - 1, 4)), stop);
    HttpRequest begin;
    begin.method = "POST";
    begin.url = impl_->Url("/blobs/uploads/", stop);
    answer = impl_->Repeat(begin, stop);
    if (answer.status != 202) impl_->Refuse(answer, blob.digest);
    std::string location(answer.Header("location"));
    if (location.starts_with('/')) location = impl_->Base(stop) + location;
    if (location.empty()) {
      throw Failure(ErrorKind::kInvalid, impl_->Named("") + ": no place to upload to was given");
    }
    const auto source = open();
    HttpRequest put;
    put.method = "PUT";
    put.url = location + (location.find('?') == std::string::npos ? "?" : "&") +
              "digest=" + PercentEncode(blob.digest);
    put.headers.emplace_back("Content-Type: application/octet-stream");
    put.upload_bytes = static_cast<std::int64_t>(blob.size);
    put.upload = [&](char* buffer, std::size_t size) {
      return source->Read(std::span(buffer, size));
    };
    put.follow_redirects = false;
    if (const std::string value = impl_->Authorization();
        !value.empty() && location.starts_with(impl_->Base(stop))) {
      put.headers.push_back("Authorization: " + value);
    }
    Impl::Lease session(*impl_);
    answer = session->Perform(put, stop);
    if (answer.status == 201 || answer.status == 204) return;
    if (KindOf(answer) != ErrorKind::kUnavailable && answer.status != 401) break;
  }
  impl_->Refuse(answer, blob.digest);
}

std::string Client::PushManifest(const std::string& reference, const std::string& media_type,
                                 const std::string& text, const std::stop_token& stop) {
  CheckReference(reference);
  HttpRequest request;
  request.method = "PUT";
  request.url = impl_->Url("/manifests/" + reference, stop);
  request.headers.push_back("Content-Type: " + media_type);
  request.body = text;
  const HttpAnswer answer = impl_->Repeat(request, stop);
  if (answer.status != 201 && answer.status != 200) impl_->Refuse(answer, reference);
  return "sha256:" + ToHex(Sha256(text));
}

}  // namespace pinion::registry
