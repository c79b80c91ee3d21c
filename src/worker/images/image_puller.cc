#include "worker/images/image_puller.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <atomic>
#include <set>
#include <thread>

#include "archive/codec.h"
#include "archive/tree.h"
#include "archive/unpack.h"
#include "async/task_group.h"
#include "worker/id_mapping.h"

namespace pinion::worker {
namespace {

constexpr std::uint64_t kPaddingMax = 16 << 20;
constexpr std::uint64_t kReportStep = 1 << 20;

std::string TextOf(const Json* value) {
  if (!value) return {};
  if (value->IsString()) return value->AsString();
  if (value->IsInteger()) return std::to_string(value->AsInteger());  // a tag such as 3
  if (value->IsDouble()) return ToText(*value);
  return {};
}

Result<void> RefuseWhatOnlyTheTypeDoes(const Json& source, const Json& params) {
  const std::string format(params.StringAt("format", "rootfs"));
  if (format != "rootfs" && !format.empty()) {
    return Fail(ErrorKind::kInvalid, "the worker makes images of format rootfs only, not '" +
                                         format.substr(0, 64) + "'");
  }
  for (const Json* from : {&source, &params}) {
    if (!from->IsObject()) continue;
    for (const auto& [name, value] : from->AsObject()) {
      const bool set = !value.IsNull() && value != Json("") && value != Json(false);
      if (set &&
          (name.starts_with("aws_") || name.starts_with("azure_") || name == "content_trust")) {
        return Fail(ErrorKind::kInvalid, "the worker does not pull images with '" + name + "'");
      }
    }
  }
  return {};
}

void ReadPlatform(const Json* platform, registry::Platform& out) {
  if (!platform) return;
  if (const auto os = platform->StringAt("os"); !os.empty()) out.os = os;
  if (const auto name = platform->StringAt("architecture"); !name.empty()) out.architecture = name;
  if (const auto variant = platform->StringAt("variant"); !variant.empty()) out.variant = variant;
}

/// Counts bytes for the progress report.
class CountingSink final : public archive::ByteSink {
 public:
  CountingSink(archive::ByteSink& to, std::function<void(std::uint64_t)> count)
      : to_(to), count_(std::move(count)) {}
  void Write(std::string_view bytes) override {
    to_.Write(bytes);
    waiting_ += bytes.size();
    if (waiting_ >= kReportStep) count_(std::exchange(waiting_, 0));
  }
  void Finish() override {
    count_(std::exchange(waiting_, 0));
    to_.Finish();
  }

 private:
  archive::ByteSink& to_;
  std::function<void(std::uint64_t)> count_;
  std::uint64_t waiting_ = 0;
};

// Fetches on one thread and unpacks on another, joined by a bounded pipe.
void FillLayer(registry::Client& client, const registry::Blob& blob, const std::string& diff_id,
               std::uint64_t bytes_max, int folder, std::function<void(std::uint64_t)> count,
               const std::stop_token& stop) {
  if (::mkdirat(folder, "rootfs", 0755) != 0 || ::fchmodat(folder, "rootfs", 0755, 0) != 0) {
    throw Failure(SystemError("make the layer's folder", errno));
  }
  const linux::UniqueFd root(::openat(folder, "rootfs", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root) throw Failure(SystemError("open the layer's folder", errno));
  archive::BytePipe pipe(4 << 20);
  std::stop_source fetching;
  const std::stop_callback on_stop(stop, [&] {
    fetching.request_stop();
    pipe.Fail(std::make_exception_ptr(Cancelled()));
  });
  std::thread fetcher([&] {
    try {
      CountingSink sink(pipe.sink(), count);
      client.FetchBlob(blob, sink, fetching.get_token());
      sink.Finish();  // the end comes only after the digest was right
    } catch (...) {
      pipe.Fail(std::current_exception());
    }
  });
  std::exception_ptr error;
  try {
    const auto decoder = archive::MakeSniffingDecoder(pipe.source());
    archive::HashingSource content(*decoder);
    archive::UnpackOptions options;
    options.oci_whiteouts = true;
    options.devices = archive::UnpackOptions::Devices::kSkip;
    options.id_count = kIdCount;
    options.bytes_max = bytes_max;
    archive::Unpack(content, root.get(), options, stop);
    archive::Drain(content, kPaddingMax);
    if (const std::string digest = "sha256:" + content.Hex(); digest != diff_id) {
      throw Failure(ErrorKind::kInvalid,
                    "its content has the digest " + digest + " instead of the config's " + diff_id);
    }
  } catch (...) {
    error = std::current_exception();
    pipe.Fail(error);
    fetching.request_stop();
  }
  fetcher.join();
  if (error) std::rethrow_exception(error);
}

// The files beside rootfs/, as the registry-image resource type writes them.
std::map<std::string, std::string> DescribeImage(const ImageRequest& request,
                                                 const registry::Image& image) {
  static const Json kNone;
  const Json* config = image.config.Find("config");
  if (!config) config = &kNone;
  const auto member = [&](const char* name) {
    const Json* value = config->Find(name);
    return value ? *value : Json();
  };
  std::map<std::string, std::string> files;
  files["repository"] = request.repository;
  files["tag"] = request.tag;
  files["digest"] = image.digest;
  if (request.skip_download) return files;
  const JsonObject metadata{{"cmd", member("Cmd")},
                            {"entrypoint", member("Entrypoint")},
                            {"env", member("Env")},
                            {"user", Json(config->StringAt("User"))}};
  files["metadata.json"] = ToText(Json(metadata)) + "\n";
  const Json labels = member("Labels");
  files["labels.json"] = ToText(labels.IsObject() ? labels : Json(JsonObject{})) + "\n";
  return files;
}

}  // namespace

Result<ImageRequest> ParseImageRequest(const Json& strategy) {
  static const Json kNone(JsonObject{});
  const auto part = [&](const char* name) -> const Json& {
    const Json* value = strategy.Find(name);
    return value && value->IsObject() ? *value : kNone;
  };
  const Json& source = part("source");
  const Json& params = part("params");
  const Json& version = part("version");
  if (auto able = RefuseWhatOnlyTheTypeDoes(source, params); !able) {
    return std::unexpected(std::move(able).error());
  }
  ImageRequest request;
  request.repository = source.StringAt("repository");
  if (auto parsed = registry::ParseRepository(request.repository); !parsed) {
    return std::unexpected(std::move(parsed).error());
  }
  request.tag = TextOf(version.Find("tag"));
  if (request.tag.empty()) request.tag = TextOf(source.Find("tag"));
  if (request.tag.empty()) request.tag = "latest";
  request.digest = version.StringAt("digest");
  if (!request.digest.empty() && !registry::IsDigest(request.digest)) {
    return Fail(ErrorKind::kInvalid, "'" + request.digest.substr(0, 100) + "' is no sha256 digest");
  }
  request.skip_download = params.BoolAt("skip_download");
  ReadPlatform(source.Find("platform"), request.platform);
  ReadPlatform(params.Find("platform"), request.platform);
  request.options.username = params.StringAt("username", source.StringAt("username"));
  request.options.password = params.StringAt("password", source.StringAt("password"));
  request.options.insecure = source.BoolAt("insecure");
  if (const Json* certificates = source.Find("ca_certs"); certificates && certificates->IsArray()) {
    for (const Json& certificate : certificates->AsArray()) {
      if (certificate.IsString()) {
        request.options.ca_certificates.push_back(certificate.AsString());
      }
    }
  }
  if (const Json* mirror = source.Find("registry_mirror")) {
    request.mirror_host = mirror->StringAt("host");
    request.mirror_username = mirror->StringAt("username");
    request.mirror_password = mirror->StringAt("password");
  }
  return request;
}

/// One image on its way into a volume.
struct ImagePuller::Pull {
  Pull(registry::Repository repository, registry::Options options)
      : client(std::move(repository), std::move(options)) {}
  registry::Client client;
  registry::Image image;
  std::vector<LayerHold> holds;
  std::atomic<std::uint64_t> done = 0;
  std::uint64_t total = 0;
  ProgressReport progress;
  std::exception_ptr error;
  std::stop_source stop;
};

ImagePuller::ImagePuller(Executor executor, Logger log, VolumeStore& store,
                         ImagePullerOptions options)
    : executor_(executor),
      log_(std::move(log)),
      store_(store),
      options_(options),
      layer_slots_(options.layers_at_once) {}

VolumeStrategy ImagePuller::Strategy() {
  return [this](Json strategy, ProgressReport progress, std::stop_token stop) {
    return Make(std::move(strategy), std::move(progress), std::move(stop));
  };
}

Task<VolumeContent> ImagePuller::Make(Json strategy, ProgressReport progress,
                                      std::stop_token stop) {
  ImageRequest request = ValueOrThrow(ParseImageRequest(strategy));
  request.options.retry_pause = options_.retry_pause;
  const registry::Repository origin = ValueOrThrow(registry::ParseRepository(request.repository));
  if (!request.mirror_host.empty() && origin.host == "index.docker.io") {
    ImageRequest mirrored = request;
    mirrored.options.username = request.mirror_username;
    mirrored.options.password = request.mirror_password;
    std::optional<Error> error;
    try {
      co_return co_await PullFrom(request.mirror_host + "/" + origin.name, mirrored, progress,
                                  stop);
    } catch (const Failure& failure) {
      error = failure.error();
    }
    log_.Warn("image not pulled from the mirror, trying its origin",
              {{"mirror", request.mirror_host}, {"error", error->message}});
  }
  co_return co_await PullFrom(origin.Text(), std::move(request), std::move(progress), stop);
}

Task<VolumeContent> ImagePuller::PullFrom(std::string repository, ImageRequest request,
                                          ProgressReport progress, std::stop_token stop) {
  const auto parsed = ValueOrThrow(registry::ParseRepository(repository));
  const auto pull = std::make_shared<Pull>(parsed, request.options);
  pull->progress = std::move(progress);
  const std::string reference = request.digest.empty() ? request.tag : request.digest;
  {
    const Semaphore::Permit slot = co_await manifest_slots_.Acquire(stop);
    const registry::Platform platform = request.platform;
    pull->image = co_await manifests_.Run([pull, reference, platform, stop] {
      return pull->client.GetImage(reference, platform, stop);
    });
  }
  VolumeContent content;
  content.files = DescribeImage(request, pull->image);
  if (request.skip_download) co_return content;
  for (const registry::Blob& layer : pull->image.layers)
    pull->total += layer.size;
  const std::size_t count = pull->image.layers.size();
  pull->holds.resize(count);
  {
    const std::stop_callback on_stop(stop, [&] { pull->stop.request_stop(); });
    TaskGroup layers(executor_, log_, "image-layers");
    std::set<std::string> seen;
    // From the top: of equal layers the topmost hides the others, and overlayfs takes each once.
    for (std::size_t i = count; i-- > 0;) {
      if (!seen.insert(pull->image.diff_ids[i]).second) continue;
      layers.Spawn(PullLayer(pull, i, pull->stop.get_token()));
    }
    co_await layers.Join();
  }
  ThrowIfStopped(stop);
  if (pull->error) std::rethrow_exception(pull->error);
  for (std::size_t i = count; i-- > 0;) {
    if (!pull->holds[i].name().empty()) content.layers.push_back(std::move(pull->holds[i]));
  }
  if (content.layers.empty()) {
    VolumeStore::Fill fill = [](int folder, std::stop_token) {
      if (::mkdirat(folder, "rootfs", 0755) != 0) {
        throw Failure(SystemError("make the layer's folder", errno));
      }
    };
    content.layers.push_back(co_await store_.Layer("image-empty", std::move(fill), stop));
  }
  co_return content;
}

Task<void> ImagePuller::PullLayer(std::shared_ptr<Pull> pull, std::size_t index,
                                  std::stop_token stop) {
  const registry::Blob blob = pull->image.layers[index];
  const std::string diff_id = pull->image.diff_ids[index];
  auto report = [pull, executor = executor_](std::uint64_t bytes) {
    pull->done += bytes;
    boost::asio::post(executor, [pull] {
      if (pull->progress) pull->progress(pull->done, pull->total);
    });
  };
  bool fetched = false;
  VolumeStore::Fill fill = [&, report](int folder, std::stop_token fill_stop) {
    fetched = true;
    FillLayer(pull->client, blob, diff_id, options_.layer_bytes_max, folder, report, fill_stop);
  };
  try {
    const Semaphore::Permit slot = co_await layer_slots_.Acquire(stop);
    pull->holds[index] =
        co_await store_.Layer("image-sha256-" + diff_id.substr(7), std::move(fill), stop);
    if (!fetched) report(blob.size);
  } catch (const Failure& failure) {
    if (!pull->error) {
      pull->error = std::make_exception_ptr(
          Failure(Error(failure.error())
                      .Context(pull->client.repository().Text() + ": layer " + blob.digest)));
    }
    pull->stop.request_stop();
  } catch (...) {
    if (!pull->error) pull->error = std::current_exception();
    pull->stop.request_stop();
  }
}

}  // namespace pinion::worker
