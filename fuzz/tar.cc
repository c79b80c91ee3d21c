// Archives that are unpacked: nothing outside of the folder is made, changed or read, and what was
// unpacked packs and unpacks to the same.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "archive/codec.h"
#include "archive/pack.h"
#include "archive/tree.h"
#include "archive/unpack.h"
#include "base/files.h"
#include "fuzz/target.h"
#include "fuzz/wire.h"

using namespace pinion;
using fuzz::Require;
namespace fs = std::filesystem;

namespace {

class CutSource final : public archive::ByteSource {
 public:
  CutSource(std::string_view text, std::uint32_t seed) : rest_(text), cuts_(seed) {}
  std::size_t Read(std::span<char> buffer) override {
    const std::size_t count =
        rest_.copy(buffer.data(), std::min(cuts_.Next(rest_.size()) * 64, buffer.size()));
    rest_.remove_prefix(count);
    return count;
  }

 private:
  std::string_view rest_;
  fuzz::Cuts cuts_;
};

/// A folder beside which something lies that must not change.
struct Place {
  TemporaryFolder folder{"fuzz-tar"};
  std::string outside = folder.path() / "outside";
  Place() {
    fs::create_directory(outside);
    std::ofstream(outside + "/secret") << "secret";
  }
  std::string Outside() const {
    std::string all;
    for (const auto& entry : fs::recursive_directory_iterator(folder.path())) {
      const std::string path = entry.path().lexically_relative(folder.path());
      if (path.starts_with("in")) continue;
      struct stat state{};
      ::lstat(entry.path().c_str(), &state);
      all += path + " " + std::to_string(state.st_mode) + " " + std::to_string(state.st_uid) + " " +
             std::to_string(state.st_nlink) + " " + std::to_string(state.st_size) + "\n";
    }
    std::ifstream file(outside + "/secret");
    std::string content;
    std::getline(file, content);
    return all + content;
  }
};

std::string UnpackInto(archive::ByteSource& source, int root,
                       const archive::UnpackOptions& options) {
  try {
    const auto done = archive::Unpack(source, root, options);
    Require(done.bytes <= options.bytes_max && done.entries <= options.entries_max,
            "more was unpacked than the limit");
    return "";
  } catch (const Failure& failure) {
    Require(*failure.what() != '\0', "an error without a message");
    return failure.what();
  }
}

std::string PackText(int root) {
  archive::TextSink sink;
  try {
    archive::Pack(root, "", sink, {.fixed_time = 0});
  } catch (const Failure& failure) {
    // Folders may be closed to all but root.
    Require(::geteuid() != 0, "what was unpacked is not packed", failure.what());
    return "";
  }
  return sink.text();
}

archive::UnpackOptions OptionsOf(unsigned choice) {
  archive::UnpackOptions options;
  options.id_count = 65536;
  options.keep_owners = (choice & 1U) != 0;
  if ((choice & 2U) != 0) options.devices = archive::UnpackOptions::Devices::kSkip;
  options.oci_whiteouts = (choice & 12U) == 4 && ::geteuid() == 0;
  options.apply_whiteouts = (choice & 12U) == 8;
  options.bytes_max = 1 << 20;
  options.entries_max = 500;
  return options;
}

void Make(int root) {
  ::mkdirat(root, "old", 0755);
  ::symlinkat("../outside", root, "leaving");
  ::symlinkat("old", root, "staying");
  const int file = ::openat(root, "old/file", O_CREAT | O_WRONLY, 0644);
  if (file >= 0) ::close(file);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const unsigned choice = input.Choice(64);
  const std::uint32_t seed = input.Choice(255) + 1;
  static Place place;
  const std::string inside = place.folder.path() / "in";
  fs::create_directory(inside);
  const std::string before = place.Outside();
  std::string packed;
  std::string error;
  {
    const archive::FileHandle root = archive::OpenFolder(inside);
    if ((choice & 16U) != 0) Make(root.get());
    CutSource bytes(input.Rest(), seed);
    try {
      const auto decoder = (choice & 32U) != 0
                               ? archive::MakeSniffingDecoder(bytes)
                               : archive::MakeDecoder(bytes, archive::Encoding::kRaw);
      error = UnpackInto(*decoder, root.get(), OptionsOf(choice));
    } catch (const Failure& failure) {
      error = failure.what();
    }
    Require(place.Outside() == before, "something outside of the folder changed", place.Outside());
    if ((choice & 4U) == 0) packed = PackText(root.get());
  }
  archive::RemoveTree(place.folder.path() / "in");
  Require(!fs::exists(inside), "something could not be removed");
  if (packed.empty()) return 0;

  // There and back: what lies on the disk is an archive of its own, compressed in any way.
  archive::TextSink compressed;
  const auto encoding = static_cast<archive::Encoding>(seed % 3);
  const auto encoder = archive::MakeEncoder(compressed, encoding);
  encoder->Write(packed);
  encoder->Finish();
  fs::create_directory(inside);
  {
    const archive::FileHandle root = archive::OpenFolder(inside);
    CutSource bytes(compressed.text(), seed);
    const auto decoder = archive::MakeDecoder(bytes, encoding);
    archive::UnpackOptions options;
    options.devices = archive::UnpackOptions::Devices::kRefuse;
    const std::string failed = UnpackInto(*decoder, root.get(), options);
    Require(failed.empty(), "what was packed is not unpacked", failed);
    Require(PackText(root.get()) == packed, "what was packed is unpacked differently");
  }
  archive::RemoveTree(place.folder.path() / "in");
  return 0;
}
