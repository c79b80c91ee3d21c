#include <fcntl.h>
#include <re2/re2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <set>
#include <thread>

#include "archive/codec.h"
#include "archive/tree.h"
#include "archive/unpack.h"
#include "base/files.h"
#include "registry-image/layout.h"
#include "registry-image/source.h"
#include "registry-image/tar_file.h"

namespace pinion::resource {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kPaddingMax = 16 << 20;
constexpr std::uint64_t kLayerBytesMax = 256ULL << 30;  // unpacked
constexpr std::size_t kConfigMax = 8 << 20;

struct InParams {
  std::string format;
  std::optional<PlatformField> platform;
  bool skip_download = false;

  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("format", self.format);
    visit("platform", self.platform);
    visit("skip_download", self.skip_download);
  }
};

/// What one `in` works on.
struct Fetch {
  const ImageSource& source;
  const InParams& params;
  const ImageVersion& version;
  fs::path folder;
};

InParams ReadParams(const Json& json) {
  RefuseUnknown(json, "params", FieldNames<InParams>());
  if (const Json* platform = json.Find("platform"); platform && !platform->IsNull()) {
    RefuseUnknown(*platform, "params.platform", FieldNames<PlatformField>());
  }
  auto params = FromJson<InParams>(json);
  if (!params) throw Failure(std::move(params).error().Context("params"));
  if (params->format.empty()) params->format = "rootfs";
  if (params->format != "rootfs" && params->format != "oci" && params->format != "oci-layout") {
    throw Failure(ErrorKind::kInvalid, "params.format must be rootfs, oci or oci-layout, not '" +
                                           params->format.substr(0, 64) + "'");
  }
  return std::move(*params);
}

/// How many ids this user namespace shows; others cannot be given to files.
std::uint32_t IdCount() {
  constexpr std::uint32_t kAll = archive::UnpackOptions().id_count;
  const std::string map = ReadFile("/proc/self/uid_map").value_or("");
  unsigned inside = 0;
  unsigned outside = 0;
  unsigned count = 0;
  if (std::sscanf(map.c_str(), "%u %u %u", &inside, &outside, &count) != 3) return kAll;
  return inside == 0 && count < kAll ? count : kAll;
}

/// The writing end of a pipe whose reader may go away.
class PipeSink final : public archive::ByteSink {
 public:
  explicit PipeSink(linux::UniqueFd fd) : fd_(std::move(fd)) {}
  void Write(std::string_view bytes) override {
    while (!bytes.empty()) {
      const ssize_t written = ::write(fd_.get(), bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) throw Failure(SystemError("pass a layer on", errno));
      bytes.remove_prefix(static_cast<std::size_t>(written));
    }
  }

 private:
  linux::UniqueFd fd_;
};

/// Reads to the end, which is no further than the blob's size; false if that failed.
bool DrainQuietly(int fd) {
  std::array<char, 65536> buffer;
  for (;;) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got == 0) return true;
    if (got < 0 && errno != EINTR) return false;
  }
}

/// Fetches a layer on one thread and unpacks it on this one, through a pipe of the kernel's.
void UnpackLayer(registry::Client& client, const registry::Blob& blob, const std::string& diff_id,
                 int root, std::uint32_t id_count) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw Failure(SystemError("make a pipe", errno));
  linux::UniqueFd read_end(ends[0]);
  linux::UniqueFd write_end(ends[1]);
  ::fcntl(write_end.get(), F_SETPIPE_SZ, 1 << 20);  // as large as it may be
  std::exception_ptr fetching;
  std::exception_ptr unpacking;
  std::atomic<bool> given_up = false;
  std::stop_source stop;
  {
    const std::jthread fetcher([&, end = std::move(write_end)]() mutable {
      PipeSink sink(std::move(end));  // closed only when it is known how the transfer ended
      try {
        client.FetchBlob(blob, sink, stop.get_token());
      } catch (...) {
        if (!given_up) fetching = std::current_exception();
      }
    });
    try {
      archive::FdSource source(read_end.get(), "layer");
      const auto decoder = archive::MakeSniffingDecoder(source);
      archive::HashingSource content(*decoder);
      archive::UnpackOptions options;
      options.apply_whiteouts = true;
      options.devices = archive::UnpackOptions::Devices::kSkip;  // containers have their own
      options.id_count = id_count;
      options.bytes_max = kLayerBytesMax;
      archive::Unpack(content, root, options);
      archive::Drain(content, kPaddingMax);
      archive::Drain(source, kPaddingMax);
      if (const std::string digest = "sha256:" + content.Hex(); digest != diff_id) {
        throw Failure(ErrorKind::kInvalid, "its content has the digest " + digest +
                                               " instead of the config's " + diff_id);
      }
    } catch (...) {
      unpacking = std::current_exception();
      // Content that is wrong is best explained by a wrong digest, known at the transfer's end.
      if (CurrentError().kind != ErrorKind::kInvalid || !DrainQuietly(read_end.get())) {
        given_up = true;
        stop.request_stop();
      }
      read_end.Reset();
    }
  }
  // A transfer that was wrong or broke off explains why the content was.
  if (fetching) std::rethrow_exception(fetching);
  if (unpacking) std::rethrow_exception(unpacking);
}

const Json& ConfigOf(const registry::Image& image) {
  static const Json kNone(JsonObject{});
  const Json* config = image.config.Find("config");
  return config ? *config : kNone;
}

Json MemberOf(const Json& object, std::string_view name) {
  const Json* member = object.Find(name);
  return member ? *member : Json();
}

void WriteLabels(const fs::path& folder, const registry::Image& image) {
  Json labels = MemberOf(ConfigOf(image), "Labels");
  if (!labels.IsObject()) labels = JsonObject();
  labels.AsObject().SortByName();
  ValueOrThrow(WriteFile(folder / "labels.json", ToText(labels) + "\n"));
}

std::string ShortDigest(const std::string& digest) {
  return digest.substr(7, 12);
}

void SaveRootfs(registry::Client& client, const registry::Image& image, const fs::path& folder) {
  const fs::path rootfs = folder / "rootfs";
  fs::create_directories(rootfs);
  const auto root = archive::OpenFolder(rootfs);
  const std::uint32_t id_count = IdCount();
  for (std::size_t i = 0; i < image.layers.size(); ++i) {
    const registry::Blob& layer = image.layers[i];
    Say("layer " + ShortDigest(layer.digest) + ": " + std::to_string((layer.size + 1023) / 1024) +
        " KiB");
    try {
      UnpackLayer(client, layer, image.diff_ids[i], root.get(), id_count);
    } catch (const Failure& failure) {
      throw Failure(Error(failure.error()).Context("layer " + layer.digest));
    }
  }
  const Json& config = ConfigOf(image);
  const Json metadata = JsonObject{{"cmd", MemberOf(config, "Cmd")},
                                   {"entrypoint", MemberOf(config, "Entrypoint")},
                                   {"env", MemberOf(config, "Env")},
                                   {"user", config.StringAt("User")}};
  ValueOrThrow(WriteFile(folder / "metadata.json", ToText(metadata) + "\n"));
  WriteLabels(folder, image);
}

/// The form of `docker save`: config, compressed layers, manifest.json.
void SaveTar(registry::Client& client, const registry::Image& image, const Fetch& fetch) {
  const fs::path path = fetch.folder / "image.tar";
  const fs::path unfinished = fetch.folder / ".image.tar.part";
  FileSink file(unfinished);
  TarWriter tar(file);
  tar.Add(image.config_blob.digest,
          client.GetBlob(image.config_blob, kConfigMax, std::stop_token()));
  JsonArray names;
  std::set<std::string> written;
  for (const registry::Blob& layer : image.layers) {
    std::string name = layer.digest.substr(7) + ".tar.gz";
    if (written.insert(name).second) {
      tar.Begin(name, layer.size);
      client.FetchBlob(layer, tar.content(), std::stop_token());
      tar.End();
    }
    names.emplace_back(std::move(name));
  }
  const auto repository = ValueOrThrow(registry::ParseRepository(fetch.source.repository));
  JsonArray tags;
  if (!fetch.version.tag.empty()) tags.emplace_back(repository.Text() + ":" + fetch.version.tag);
  const Json manifest = JsonArray{JsonObject{{"Config", image.config_blob.digest},
                                             {"RepoTags", std::move(tags)},
                                             {"Layers", std::move(names)}}};
  tar.Add("manifest.json", ToText(manifest));
  tar.Finish();
  fs::rename(unfinished, path);
  WriteLabels(fetch.folder, image);
}

/// Saves what a manifest needs as blobs of an OCI layout.
class LayoutWriter {
 public:
  LayoutWriter(registry::Client& client, fs::path folder)
      : client_(client), folder_(std::move(folder)) {
    fs::create_directories(folder_ / "blobs/sha256");
  }

  void Save(const registry::Manifest& root) {
    if (IsIndex(root.media_type)) {
      SaveParts(root, 0);
      ValueOrThrow(WriteFile(folder_ / "index.json", root.text));
    } else {
      SaveBlobText(root.digest, root.text);
      SaveParts(root, 0);
      const Json index = JsonObject{
          {"schemaVersion", 2},
          {"mediaType", "application/vnd.oci.image.index.v1+json"},
          {"manifests", JsonArray{JsonObject{{"mediaType", root.media_type},
                                             {"size", static_cast<long>(root.text.size())},
                                             {"digest", root.digest}}}}};
      ValueOrThrow(WriteFile(folder_ / "index.json", ToText(index)));
      ValueOrThrow(WriteFile(folder_ / "single-image-digest", root.digest));
    }
    ValueOrThrow(WriteFile(folder_ / "oci-layout", R"({"imageLayoutVersion":"1.0.0"})"));
  }

 private:
  fs::path BlobPath(const std::string& digest) const {
    return folder_ / "blobs/sha256" / digest.substr(7);
  }
  void SaveBlobText(const std::string& digest, std::string_view text) {
    ValueOrThrow(WriteFile(BlobPath(digest), text));
  }

  void SaveBlob(const Json& descriptor) {
    const registry::Blob blob = ReadDescriptor(descriptor);
    if (fs::exists(BlobPath(blob.digest))) return;
    const fs::path unfinished = BlobPath(blob.digest).string() + ".part";
    FileSink file(unfinished);
    client_.FetchBlob(blob, file, std::stop_token());
    file.Finish();
    fs::rename(unfinished, BlobPath(blob.digest));
  }

  void SaveParts(const registry::Manifest& manifest, int depth) {
    if (depth > kIndexDepthMax) {
      throw Failure(ErrorKind::kTooLarge, "the image's indexes are nested too deeply");
    }
    const Json json = ValueOrThrow(ParseJson(manifest.text));
    if (IsIndex(manifest.media_type)) {
      const Json* children = json.Find("manifests");
      if (!children || !children->IsArray()) return;
      for (const Json& child : children->AsArray()) {
        const registry::Manifest part =
            client_.GetManifest(ReadDescriptor(child).digest, std::stop_token());
        SaveBlobText(part.digest, part.text);
        SaveParts(part, depth + 1);
      }
      return;
    }
    if (const Json* config = json.Find("config")) SaveBlob(*config);
    const Json* layers = json.Find("layers");
    if (!layers || !layers->IsArray()) return;
    for (const Json& layer : layers->AsArray())
      SaveBlob(layer);
  }

  registry::Client& client_;
  fs::path folder_;
};

/// Fields of the members whose names match, by name.
void AddMatching(const Json& members, const std::string& regex, std::string_view field,
                 JsonArray& metadata) {
  const RE2 pattern(regex, RE2::Quiet);
  if (!pattern.ok()) {
    throw Failure(ErrorKind::kInvalid, "source." + std::string(field) + ": " + pattern.error());
  }
  if (!members.IsObject()) return;
  JsonObject sorted = members.AsObject();
  sorted.SortByName();
  for (const auto& [name, value] : sorted) {
    if (value.IsString() && RE2::PartialMatch(name, pattern)) {
      metadata.push_back(MetadataField(name, value.AsString()));
    }
  }
}

/// Fetches from one place; returns the step's metadata.
JsonArray FetchFrom(const Place& place, const Fetch& fetch) {
  registry::Client client(place.repository, place.options);
  const registry::Platform platform = ChoosePlatform(fetch.source, fetch.params.platform);
  const bool described =
      !fetch.source.label_regex.empty() || !fetch.source.annotation_regex.empty();
  const bool whole = fetch.params.format == "oci-layout";
  const bool needed = !fetch.params.skip_download && !whole;
  std::optional<registry::Image> image;
  if (needed || described) {
    image = client.GetImage(fetch.version.digest, platform, std::stop_token());
  }
  if (!needed) {
    const auto manifest = client.GetManifest(fetch.version.digest, std::stop_token());
    if (!fetch.params.skip_download) LayoutWriter(client, fetch.folder / "oci").Save(manifest);
  } else if (fetch.params.format == "oci") {
    SaveTar(client, *image, fetch);
  } else {
    SaveRootfs(client, *image, fetch.folder);
  }
  JsonArray metadata{MetadataField("repository", fetch.source.repository),
                     MetadataField("tag", fetch.version.tag)};
  if (!fetch.source.label_regex.empty()) {
    AddMatching(MemberOf(ConfigOf(*image), "Labels"), fetch.source.label_regex, "label_regex",
                metadata);
  }
  if (!fetch.source.annotation_regex.empty()) {
    const Json manifest = ValueOrThrow(ParseJson(image->manifest.text));
    AddMatching(MemberOf(manifest, "annotations"), fetch.source.annotation_regex,
                "annotation_regex", metadata);
  }
  return metadata;
}

/// A place that failed half-way leaves nothing to the next.
void Clear(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  const auto parent = archive::OpenFolder(folder);
  for (const std::string& name : names)
    archive::RemoveTree(parent.get(), name);
}

}  // namespace

Json InImage(const Request& request) {
  const ImageSource source = ReadSource(request.source);
  const InParams params = ReadParams(request.params);
  RefuseUnknown(request.version, "version", {"tag", "digest"});
  const ImageVersion version{std::string(request.version.StringAt("tag")),
                             std::string(request.version.StringAt("digest"))};
  if (!registry::IsDigest(version.digest)) {
    throw Failure(ErrorKind::kInvalid,
                  "version.digest '" + version.digest.substr(0, 100) + "' is no sha256 digest");
  }
  const Fetch fetch{source, params, version, request.folder};
  JsonArray metadata;
  for (const Place& place : Places(source)) {
    Say("fetching " + (place.mirror ? place.repository.Text() : source.repository) + "@" +
        version.digest);
    try {
      metadata = FetchFrom(place, fetch);
      break;
    } catch (const Failure& failure) {
      Clear(fetch.folder);
      if (!place.mirror) throw;
      Say("the mirror failed: " + failure.error().message);
    }
  }
  ValueOrThrow(WriteFile(fetch.folder / "tag", version.tag));
  ValueOrThrow(WriteFile(fetch.folder / "digest", version.digest));
  ValueOrThrow(WriteFile(fetch.folder / "repository", source.repository));
  return JsonObject{{"version", version.ToJson()}, {"metadata", std::move(metadata)}};
}

}  // namespace pinion::resource
