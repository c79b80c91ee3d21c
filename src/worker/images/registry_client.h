#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "archive/byte_stream.h"
#include "base/json.h"
#include "worker/images/http_session.h"

/// Image registries (OCI distribution, Docker registry v2.2): pulling, pushing, listing. Everything
/// blocks, takes a stop token, and throws Failure with the image named: kInvalid (what the registry
/// sent is wrong or not supported), kNotFound, kUnauthorized, kUnavailable (after several tries),
/// kTooLarge.
namespace pinion::registry {

/// Where a repository lies, after Docker's short forms are spelled out: "busybox" is
/// index.docker.io and library/busybox.
struct Repository {
  std::string host;  ///< with port
  std::string name;
  std::string Text() const { return host + "/" + name; }
};

/// Without tag and digest. kInvalid for anything that is no repository's name.
Result<Repository> ParseRepository(std::string_view text);
/// "sha256:" and 64 hexadecimal digits: the only kind that is accepted, as paths are made of it.
bool IsDigest(std::string_view text);

struct Platform {
  std::string os = "linux";
  std::string architecture;  ///< as OCI spells it; empty is this machine's
  std::string variant;
};

struct Options {
  std::string username;
  std::string password;
  bool insecure = false;  ///< plain HTTP is tried too, certificates are not checked
  std::vector<std::string> ca_certificates;
  bool push = false;  ///< ask for the right to push
  /// The pause before the second try of what the network broke; it doubles up to 16 times.
  Duration retry_pause = std::chrono::milliseconds(250);
  Duration stall_timeout = std::chrono::seconds(60);
  int tries_max = 6;  ///< in a row without progress
};

/// A manifest or index as the registry holds it.
struct Manifest {
  std::string digest;
  std::string media_type;
  std::string text;
};

struct Blob {
  std::string digest;
  std::string media_type;
  std::uint64_t size = 0;
};

/// One platform's image.
struct Image {
  std::string digest;  ///< of its manifest; of the index if it was asked for by an index
  Manifest manifest;   ///< its own, also if it was asked for by an index
  Blob config_blob;
  Json config;
  std::vector<Blob> layers;           ///< lowest first
  std::vector<std::string> diff_ids;  ///< digests of the layers uncompressed, same order
};

/// One repository. Thread-safe: calls may run at once, each on its own connection.
class Client {
 public:
  Client(Repository repository, Options options);
  ~Client();

  const Repository& repository() const { return repository_; }

  /// The digest of a tag, nothing if there is no such tag.
  std::optional<std::string> ResolveTag(const std::string& tag, const std::stop_token& stop);
  /// All tags in the registry's order, at most 100,000.
  std::vector<std::string> ListTags(const std::stop_token& stop);
  /// `reference` is a tag or a digest. Verified by digest.
  Manifest GetManifest(const std::string& reference, const std::stop_token& stop);
  /// Goes through an index to the platform's manifest, and reads the config. Everything is verified
  /// by digest and the numbers of layers and diff ids are equal.
  Image GetImage(const std::string& reference, const Platform& platform,
                 const std::stop_token& stop);
  /// A small blob, verified.
  std::string GetBlob(const Blob& blob, std::size_t limit, const std::stop_token& stop);
  /// Streams a blob into `sink` (which is not finished). A transfer that breaks off goes on from
  /// the byte reached. kInvalid at the end when size or digest are not the blob's: what the sink
  /// got must not be used then.
  void FetchBlob(const Blob& blob, archive::ByteSink& sink, const std::stop_token& stop);

  bool HasBlob(const std::string& digest, const std::stop_token& stop);
  /// `open` begins the content anew for every try.
  void PushBlob(const Blob& blob, const std::function<std::unique_ptr<archive::ByteSource>()>& open,
                const std::stop_token& stop);
  /// Puts a manifest under a tag or its digest; returns its digest.
  std::string PushManifest(const std::string& reference, const std::string& media_type,
                           const std::string& text, const std::stop_token& stop);

 private:
  struct Impl;
  Repository repository_;
  std::unique_ptr<Impl> impl_;
};

/// This machine's, as OCI spells it ("amd64").
std::string MachineArchitecture();

}  // namespace pinion::registry
