#include "registry-image/layout.h"

#include <array>
#include <set>

#include "archive/codec.h"
#include "base/encoding.h"
#include "base/files.h"
#include "base/text.h"
#include "registry-image/tar_file.h"

namespace pinion::resource {
namespace {

namespace fs = std::filesystem;
using archive::ByteSource;

constexpr std::string_view kDockerList =
    "application/vnd.docker.distribution.manifest.list.v2+json";
constexpr std::string_view kDockerManifest = "application/vnd.docker.distribution.manifest.v2+json";
constexpr std::string_view kDockerConfig = "application/vnd.docker.container.image.v1+json";
constexpr std::string_view kDockerLayer = "application/vnd.docker.image.rootfs.diff.tar.gzip";
constexpr std::string_view kOciConfig = "application/vnd.oci.image.config.v1+json";
constexpr std::string_view kOciGzipLayer = "application/vnd.oci.image.layer.v1.tar+gzip";
constexpr std::string_view kOciZstdLayer = "application/vnd.oci.image.layer.v1.tar+zstd";
constexpr std::size_t kManifestMax = 4 << 20;
constexpr std::size_t kConfigMax = 8 << 20;
constexpr std::size_t kLayersMax = 500;

/// The files of an image, in a folder or an archive.
class Files {
 public:
  virtual ~Files() = default;
  virtual std::string Name() const = 0;
  virtual bool Has(const std::string& name) const = 0;
  virtual std::uint64_t Size(const std::string& name) const = 0;
  virtual std::unique_ptr<ByteSource> Open(const std::string& name) const = 0;

  std::string Text(const std::string& name, std::size_t limit) const {
    const auto source = Open(name);
    archive::LimitedSource limited(
        *source, limit,
        Name() + ": '" + name + "' is larger than " + std::to_string(limit) + " bytes");
    std::string text;
    std::array<char, 65536> buffer;
    while (const std::size_t got = limited.Read(buffer))
      text.append(buffer.data(), got);
    return text;
  }
};

class FolderFiles final : public Files {
 public:
  explicit FolderFiles(fs::path folder) : folder_(std::move(folder)) {}
  std::string Name() const override { return folder_.string(); }
  bool Has(const std::string& name) const override { return fs::is_regular_file(folder_ / name); }
  std::uint64_t Size(const std::string& name) const override {
    if (!Has(name)) {
      throw Failure(ErrorKind::kNotFound, folder_.string() + " has no file '" + name + "'");
    }
    return fs::file_size(folder_ / name);
  }
  std::unique_ptr<ByteSource> Open(const std::string& name) const override {
    return std::make_unique<FilePart>(folder_ / name, 0, Size(name));
  }

 private:
  fs::path folder_;
};

class ArchiveFiles final : public Files {
 public:
  explicit ArchiveFiles(const fs::path& path) : name_(path.string()), tar_(path) {}
  std::string Name() const override { return name_; }
  bool Has(const std::string& name) const override { return tar_.Has(name); }
  std::uint64_t Size(const std::string& name) const override { return tar_.Size(name); }
  std::unique_ptr<ByteSource> Open(const std::string& name) const override {
    return tar_.Open(name);
  }

 private:
  std::string name_;
  TarFile tar_;
};

/// Compresses while it is read. Equal input gives equal output, so that it can be done twice.
class GzipSource final : public ByteSource {
 public:
  explicit GzipSource(std::unique_ptr<ByteSource> from)
      : from_(std::move(from)), encoder_(archive::MakeEncoder(sink_, archive::Encoding::kGzip)) {}

  std::size_t Read(std::span<char> buffer) override {
    while (used_ == sink_.bytes.size() && !ended_) {
      sink_.bytes.clear();
      used_ = 0;
      const std::size_t got = from_->Read(input_);
      if (got > 0) {
        encoder_->Write(std::string_view(input_.data(), got));
      } else {
        encoder_->Finish();
        ended_ = true;
      }
    }
    const std::size_t count = std::min(buffer.size(), sink_.bytes.size() - used_);
    std::ranges::copy_n(sink_.bytes.begin() + static_cast<std::ptrdiff_t>(used_),
                        static_cast<std::ptrdiff_t>(count), buffer.begin());
    used_ += count;
    return count;
  }

 private:
  struct Sink final : archive::ByteSink {
    std::string bytes;
    void Write(std::string_view more) override { bytes.append(more); }
  };

  std::unique_ptr<ByteSource> from_;
  Sink sink_;
  std::unique_ptr<archive::ByteSink> encoder_;
  std::vector<char> input_ = std::vector<char>(256 << 10);
  std::size_t used_ = 0;
  bool ended_ = false;
};

std::string DigestOf(std::string_view text) {
  return "sha256:" + ToHex(Sha256(text));
}

Json ParseNamed(std::string_view text, const std::string& name) {
  auto json = ParseJson(text);
  if (!json) throw Failure(std::move(json).error().Context(name));
  return std::move(*json);
}

const JsonArray& ArrayIn(const Json& json, std::string_view member, const std::string& name) {
  const Json* found = json.Find(member);
  if (!found || !found->IsArray()) {
    throw Failure(ErrorKind::kInvalid, name + " has no list '" + std::string(member) + "'");
  }
  return found->AsArray();
}

/// Gathers what an OCI layout's manifests name.
class LayoutReader {
 public:
  explicit LayoutReader(std::shared_ptr<Files> files) : files_(std::move(files)) {}

  /// `archive`: a single image in it is meant itself, not an index of it.
  LocalImage Read(bool archive) {
    registry::Manifest root;
    root.text = files_->Text("index.json", kManifestMax);
    root.digest = DigestOf(root.text);
    Json json = ParseNamed(root.text, files_->Name() + ": index.json");
    root.media_type = json.StringAt("mediaType", kOciIndex);
    // Builders wrap a real index in the layout's.
    for (int depth = 0; depth < kIndexDepthMax; ++depth) {
      const JsonArray& parts = ArrayIn(json, "manifests", "index.json");
      const bool wraps =
          parts.size() == 1 && (IsIndex(parts[0].StringAt("mediaType")) || (archive && depth == 0));
      if (!wraps) break;
      root = ReadManifest(parts[0]);
      json = ParseNamed(root.text, root.digest);
      if (!IsIndex(root.media_type)) break;
    }
    if (files_->Has("single-image-digest")) {
      const std::string digest(Trim(files_->Text("single-image-digest", 1024)));
      root = ReadSingle(json, digest);
    }
    AddParts(root, 0);
    image_.root = std::move(root);
    return std::move(image_);
  }

 private:
  static std::string BlobName(const std::string& digest) {
    return "blobs/sha256/" + digest.substr(7);
  }

  registry::Manifest ReadManifest(const Json& descriptor) const {
    const registry::Blob blob = ReadDescriptor(descriptor);
    registry::Manifest manifest;
    manifest.text = files_->Text(BlobName(blob.digest), kManifestMax);
    manifest.digest = DigestOf(manifest.text);
    manifest.media_type = blob.media_type;
    if (manifest.digest != blob.digest) {
      throw Failure(ErrorKind::kInvalid, files_->Name() + ": the content of " + blob.digest +
                                             " has the digest " + manifest.digest);
    }
    return manifest;
  }

  registry::Manifest ReadSingle(const Json& index, const std::string& digest) const {
    for (const Json& part : ArrayIn(index, "manifests", "index.json")) {
      if (part.StringAt("digest") == digest) return ReadManifest(part);
    }
    throw Failure(ErrorKind::kInvalid, files_->Name() + ": index.json does not have the image '" +
                                           digest.substr(0, 100) + "' of single-image-digest");
  }

  void AddParts(const registry::Manifest& manifest, int depth) {
    if (depth > kIndexDepthMax) {
      throw Failure(ErrorKind::kTooLarge, files_->Name() + ": indexes are nested too deeply");
    }
    const Json json = ParseNamed(manifest.text, manifest.digest);
    if (IsIndex(manifest.media_type)) {
      for (const Json& part : ArrayIn(json, "manifests", manifest.digest)) {
        registry::Manifest child = ReadManifest(part);
        if (!seen_.insert(child.digest).second) continue;
        AddParts(child, depth + 1);
        image_.children.push_back(std::move(child));
      }
      return;
    }
    const Json* config = json.Find("config");
    if (!config) throw Failure(ErrorKind::kInvalid, manifest.digest + " has no config");
    AddBlob(*config);
    const JsonArray& layers = ArrayIn(json, "layers", manifest.digest);
    if (layers.size() > kLayersMax) {
      throw Failure(ErrorKind::kTooLarge, manifest.digest + " has more than 500 layers");
    }
    for (const Json& layer : layers)
      AddBlob(layer);
  }

  void AddBlob(const Json& descriptor) {
    const registry::Blob blob = ReadDescriptor(descriptor);
    // Layers that only their maker may hand out stay where they are.
    const bool foreign = blob.media_type.find("foreign") != std::string::npos ||
                         blob.media_type.find("nondistributable") != std::string::npos;
    if (foreign || !seen_.insert(blob.digest).second) return;
    const std::string name = BlobName(blob.digest);
    if (const std::uint64_t size = files_->Size(name); size != blob.size) {
      throw Failure(ErrorKind::kInvalid, files_->Name() + ": '" + name + "' has " +
                                             std::to_string(size) + " bytes instead of " +
                                             std::to_string(blob.size));
    }
    image_.blobs.push_back({blob, [files = files_, name] { return files->Open(name); }});
  }

  std::shared_ptr<Files> files_;
  LocalImage image_;
  std::set<std::string> seen_;
};

/// An archive of `docker save`'s form, with layers compressed or not.
class DockerArchiveReader {
 public:
  explicit DockerArchiveReader(std::shared_ptr<Files> files) : files_(std::move(files)) {}

  LocalImage Read() {
    const Json list =
        ParseNamed(files_->Text("manifest.json", kManifestMax), files_->Name() + ": manifest.json");
    if (!list.IsArray() || list.AsArray().size() != 1) {
      throw Failure(ErrorKind::kInvalid, files_->Name() + " must hold exactly one image");
    }
    const Json& entry = list.AsArray().front();
    const std::string config = files_->Text(std::string(entry.StringAt("Config")), kConfigMax);
    const Json config_json = ParseNamed(config, files_->Name() + ": the image's config");
    const Json* file_system = config_json.Find("rootfs");
    const JsonArray diff_ids =
        ArrayIn(file_system ? *file_system : Json(), "diff_ids", "the image's config");
    const JsonArray& layers = ArrayIn(entry, "Layers", "manifest.json");
    if (layers.size() != diff_ids.size()) {
      throw Failure(ErrorKind::kInvalid,
                    files_->Name() + ": manifest.json has " + std::to_string(layers.size()) +
                        " layers but the config " + std::to_string(diff_ids.size()));
    }
    for (std::size_t i = 0; i < layers.size(); ++i)
      AddLayer(layers[i], diff_ids[i]);
    return Finish(config);
  }

 private:
  void AddLayer(const Json& layer, const Json& diff_id) {
    const std::string name = layer.IsString() ? layer.AsString() : "";
    std::array<char, 4> head{};
    std::size_t filled = 0;
    {
      const auto source = files_->Open(name);
      while (filled < head.size()) {
        const std::size_t got = source->Read(std::span(head).subspan(filled));
        if (got == 0) break;
        filled += got;
      }
    }
    const auto encoding = archive::Sniff(std::string_view(head.data(), filled));
    LocalBlob local;
    if (encoding == archive::Encoding::kRaw) {
      local.open = [files = files_, name]() -> std::unique_ptr<ByteSource> {
        return std::make_unique<GzipSource>(files->Open(name));
      };
      CheckContent(name, diff_id);
    } else {
      local.open = [files = files_, name] { return files->Open(name); };
    }
    zstd_ = zstd_ || encoding == archive::Encoding::kZstd;
    local.blob.media_type = encoding == archive::Encoding::kZstd ? kOciZstdLayer : kOciGzipLayer;
    const auto source = local.open();
    archive::HashingSource hashing(*source);
    archive::Drain(hashing, std::numeric_limits<std::uint64_t>::max());
    local.blob.size = hashing.bytes();
    local.blob.digest = "sha256:" + hashing.Hex();
    layers_.push_back(local.blob);
    if (seen_.insert(local.blob.digest).second) image_.blobs.push_back(std::move(local));
  }

  void CheckContent(const std::string& name, const Json& diff_id) const {
    const auto source = files_->Open(name);
    archive::HashingSource hashing(*source);
    archive::Drain(hashing, std::numeric_limits<std::uint64_t>::max());
    const Json digest("sha256:" + hashing.Hex());
    if (digest != diff_id) {
      throw Failure(ErrorKind::kInvalid, files_->Name() + ": layer '" + name + "' has the digest " +
                                             digest.AsString() + " instead of the config's " +
                                             ToText(diff_id));
    }
  }

  LocalImage Finish(const std::string& config) {
    const auto describe = [](std::string_view type, std::uint64_t size, std::string_view digest) {
      return Json(JsonObject{
          {"mediaType", type}, {"size", static_cast<long long>(size)}, {"digest", digest}});
    };
    registry::Blob config_blob;
    config_blob.digest = DigestOf(config);
    config_blob.size = config.size();
    config_blob.media_type = zstd_ ? kOciConfig : kDockerConfig;
    JsonArray layers;
    for (const registry::Blob& layer : layers_) {
      // Docker's own types know no zstd.
      layers.push_back(describe(zstd_ ? layer.media_type : kDockerLayer, layer.size, layer.digest));
    }
    image_.root.media_type = zstd_ ? kOciManifest : kDockerManifest;
    image_.root.text = ToText(JsonObject{
        {"schemaVersion", 2},
        {"mediaType", image_.root.media_type},
        {"config", describe(config_blob.media_type, config_blob.size, config_blob.digest)},
        {"layers", std::move(layers)}});
    image_.root.digest = DigestOf(image_.root.text);
    const auto text = std::make_shared<const std::string>(config);
    image_.blobs.push_back({config_blob, [text]() -> std::unique_ptr<ByteSource> {
                              return std::make_unique<archive::TextSource>(*text);
                            }});
    return std::move(image_);
  }

  std::shared_ptr<Files> files_;
  LocalImage image_;
  std::vector<registry::Blob> layers_;
  std::set<std::string> seen_;
  bool zstd_ = false;
};

}  // namespace

bool IsIndex(std::string_view media_type) {
  return media_type == kOciIndex || media_type == kDockerList;
}

registry::Blob ReadDescriptor(const Json& json) {
  registry::Blob blob;
  blob.digest = json.StringAt("digest");
  blob.media_type = json.StringAt("mediaType");
  const std::int64_t size = json.IntegerAt("size", -1);
  if (!registry::IsDigest(blob.digest) || size < 0) {
    throw Failure(ErrorKind::kInvalid, "the descriptor '" + blob.digest.substr(0, 100) +
                                           "' has no sha256 digest or no size");
  }
  blob.size = static_cast<std::uint64_t>(size);
  return blob;
}

LocalImage LoadImage(const fs::path& path) {
  if (fs::is_directory(path)) return LayoutReader(std::make_shared<FolderFiles>(path)).Read(false);
  const auto files = std::make_shared<ArchiveFiles>(path);
  if (files->Has("manifest.json")) return DockerArchiveReader(files).Read();
  if (files->Has("index.json")) return LayoutReader(files).Read(true);
  throw Failure(ErrorKind::kInvalid,
                path.string() + " has neither manifest.json nor index.json: it is no image");
}

}  // namespace pinion::resource
