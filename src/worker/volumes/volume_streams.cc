#include <fcntl.h>
#include <sys/stat.h>

#include "archive/pack.h"
#include "archive/tree.h"
#include "archive/unpack.h"
#include "base/encoding.h"
#include "worker/volumes/volume_record.h"

namespace pinion::worker {

namespace fs = std::filesystem;

namespace {

// What follows the end marker of a tar stream is padding.
constexpr std::uint64_t kPaddingMax = 16 << 20;

std::string LimitText(std::uint64_t bytes) {
  return bytes < 1 << 20 ? std::to_string(bytes) + "B" : std::to_string(bytes >> 20) + "MB";
}

void UnpackStream(const ContentPlace& place, const std::string& path, archive::Encoding encoding,
                  std::uint64_t limit, archive::BytePipe& pipe, const std::stop_token& stop) {
  const MappedCredentials credentials(place.id_offset != 0);
  const linux::UniqueFd root = archive::OpenFolder(place.root);
  ValueOrThrow(archive::MakeFolders(root.get(), path, archive::Links::kInRoot, place.id_offset));
  const linux::UniqueFd folder = ValueOrThrow(
      archive::OpenBelow(root.get(), path, O_RDONLY | O_DIRECTORY, archive::Links::kInRoot));
  archive::LimitedSource limited(pipe.source(), limit,
                                 "exceeded volume streaming limit of " + LimitText(limit));
  const auto decoder = archive::MakeDecoder(limited, encoding);
  archive::UnpackOptions options;
  options.id_offset = place.id_offset;
  options.id_count = place.id_count;
  options.devices = archive::UnpackOptions::Devices::kSkip;
  archive::Unpack(*decoder, folder.get(), options, stop);
  archive::Drain(*decoder, kPaddingMax);
}

void PackStream(const ContentPlace& place, const std::string& path, archive::Encoding encoding,
                archive::BytePipe& pipe, const std::stop_token& stop) {
  const MappedCredentials credentials(place.id_offset != 0);
  const linux::UniqueFd root = archive::OpenFolder(place.root);
  const auto encoder = archive::MakeEncoder(pipe.sink(), encoding);
  archive::PackOptions options;
  options.id_offset = place.id_offset;
  archive::Pack(root.get(), path, *encoder, options, stop);
}

// Runs `work` and gives its failure to the pipe's other end as well.
template <class Work>
auto Guarded(archive::BytePipe& pipe, Work work) {
  return [&pipe, work = std::move(work)] {
    try {
      work();
    } catch (...) {
      pipe.Fail(std::current_exception());
      throw;
    }
  };
}

}  // namespace

Task<void> VolumeStore::StreamIn(std::string handle, std::string path, archive::Encoding encoding,
                                 std::uint64_t limit_bytes, archive::BytePipe& pipe,
                                 std::stop_token stop) {
  std::exception_ptr error;
  try {
    const StreamUse use(Get(handle));
    const Semaphore::Permit slot = co_await stream_slots_.Acquire(stop);
    const LinkedStop linked(use.record().streams_stop.get_token());
    const std::stop_callback on_stop(stop,
                                     [&pipe] { pipe.Fail(std::make_exception_ptr(Cancelled())); });
    const std::stop_callback on_destroy(linked.token(), [&pipe] {
      pipe.Fail(std::make_exception_ptr(
          Failure(ErrorKind::kConflict, "the volume was destroyed while it was streamed")));
    });
    const ContentPlace place = PlaceOf(options_, handle, use.record().saved);
    const std::stop_token destroyed = linked.token();
    co_await streams_.Run(Guarded(pipe, [&, place, destroyed] {
      UnpackStream(place, path, encoding, limit_bytes, pipe, destroyed);
    }));
  } catch (const Failure& failure) {
    Error known = WithSpace(failure.error(), options_.folder);
    error = std::make_exception_ptr(
        Failure(std::move(known).Context("stream into volume '" + handle + "'")));
  } catch (...) {
    error = std::current_exception();
  }
  if (error) {
    pipe.Fail(error);
    std::rethrow_exception(error);
  }
}

Task<void> VolumeStore::StreamOut(std::string handle, std::string path, archive::Encoding encoding,
                                  archive::BytePipe& pipe, std::stop_token stop) {
  std::exception_ptr error;
  try {
    const StreamUse use(Get(handle));
    const Semaphore::Permit slot = co_await stream_slots_.Acquire(stop);
    const LinkedStop linked(use.record().streams_stop.get_token());
    const std::stop_callback on_stop(stop,
                                     [&pipe] { pipe.Fail(std::make_exception_ptr(Cancelled())); });
    const std::stop_callback on_destroy(linked.token(), [&pipe] {
      pipe.Fail(std::make_exception_ptr(
          Failure(ErrorKind::kConflict, "the volume was destroyed while it was streamed")));
    });
    const ContentPlace place = PlaceOf(options_, handle, use.record().saved);
    const std::stop_token destroyed = linked.token();
    co_await streams_.Run(Guarded(
        pipe, [&, place, destroyed] { PackStream(place, path, encoding, pipe, destroyed); }));
  } catch (...) {
    error = std::current_exception();
  }
  if (error) {
    pipe.Fail(error);
    std::rethrow_exception(error);
  }
}

namespace {

// What makes an import the same as an earlier one. A file: path, time and size; a folder: those of
// everything in it.
std::string Fingerprint(const fs::path& path, bool follow_links) {
  archive::Sha256Stream hash;
  const auto add = [&](const fs::path& at, const struct stat& info) {
    hash.Add(at.string() + '\0' + std::to_string(info.st_mtim.tv_sec) + "." +
             std::to_string(info.st_mtim.tv_nsec) + " " + std::to_string(info.st_size) + " " +
             std::to_string(info.st_mode) + '\0');
  };
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) {
    throw Failure(SystemError("import " + path.string(), errno));
  }
  add(path, info);
  hash.Add(follow_links ? "f" : "k");
  if (!S_ISDIR(info.st_mode)) return hash.Hex();
  std::vector<fs::path> all;
  std::error_code failed;
  auto options = fs::directory_options::skip_permission_denied;
  if (follow_links) options |= fs::directory_options::follow_directory_symlink;
  for (fs::recursive_directory_iterator at(path, options, failed), end; at != end && !failed;
       at.increment(failed)) {
    if (at.depth() > 200) throw Failure(ErrorKind::kInvalid, path.string() + " is too deep");
    all.push_back(at->path());
  }
  std::sort(all.begin(), all.end());
  for (const fs::path& at : all) {
    if ((follow_links ? ::stat(at.c_str(), &info) : ::lstat(at.c_str(), &info)) == 0) add(at, info);
  }
  return hash.Hex();
}

void Import(const fs::path& path, bool follow_links, std::uint32_t id_count, int folder,
            const std::stop_token& stop) {
  if (fs::is_directory(path)) {
    ContentPlace from;
    from.root = path;
    from.id_count = id_count;
    CopyContent(from, follow_links, folder, stop);
    return;
  }
  const linux::UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) throw Failure(SystemError("open " + path.string(), errno));
  archive::FdSource source(file.get(), path.string());
  const auto decoder = archive::MakeSniffingDecoder(source);
  archive::UnpackOptions options;
  options.id_count = id_count;
  options.devices = archive::UnpackOptions::Devices::kSkip;
  archive::Unpack(*decoder, folder, options, stop);
  archive::Drain(*decoder, kPaddingMax);
}

}  // namespace

Task<VolumeContent> VolumeStore::PrepareImport(Json strategy, std::stop_token stop) {
  const fs::path path(strategy.StringAt("path"));
  const bool follow_links = strategy.BoolAt("follow_symlinks");
  const std::uint32_t id_count = options_.map_ids ? kIdCount : 0xffffffffU;
  const std::string fingerprint =
      co_await disk_.Run([path, follow_links] { return Fingerprint(path, follow_links); });
  Fill fill = [path, follow_links, id_count](int folder, std::stop_token fill_stop) {
    try {
      Import(path, follow_links, id_count, folder, fill_stop);
    } catch (const Failure& failure) {
      throw Failure(Error(failure.error()).Context("import " + path.string()));
    }
  };
  VolumeContent content;
  content.layers.push_back(
      co_await Layer("import-" + fingerprint.substr(0, 40), std::move(fill), stop));
  co_return content;
}

}  // namespace pinion::worker
