#include "memory_log_files.h"

#include <algorithm>

namespace pinion::simulation {
namespace {

void CheckWritable(MountState& state, const std::string& path) {
  if (state.refused) {
    throw Failure(ErrorKind::kUnavailable, "write " + path + ": the lease of this node is lost");
  }
  if (state.failing || state.torn) {
    throw Failure(ErrorKind::kUnavailable, "write " + path + ": No space left on device");
  }
}

class MountedFile final : public events::LogFile {
 public:
  MountedFile(std::shared_ptr<MemoryDisk::File> file, std::shared_ptr<MountState> state,
              std::string path)
      : file_(std::move(file)), state_(std::move(state)), path_(std::move(path)) {}

  void WriteAt(std::uint64_t offset, std::string_view bytes) override {
    CheckWritable(*state_, path_);
    if (state_->torn_at > 0) {
      bytes = bytes.substr(0, state_->torn_at % (bytes.size() + 1));
      state_->torn = true;
    }
    if (file_->bytes.size() < offset + bytes.size()) file_->bytes.resize(offset + bytes.size());
    file_->bytes.replace(offset, bytes.size(), bytes);
    CheckWritable(*state_, path_);
  }
  std::string ReadAt(std::uint64_t offset, std::size_t length) override {
    if (offset >= file_->bytes.size()) return "";
    return file_->bytes.substr(offset, length);
  }
  std::uint64_t Size() override { return file_->bytes.size(); }
  void Truncate(std::uint64_t size) override {
    CheckWritable(*state_, path_);
    file_->bytes.resize(size);
  }
  void Sync() override { CheckWritable(*state_, path_); }

 private:
  std::shared_ptr<MemoryDisk::File> file_;
  std::shared_ptr<MountState> state_;
  std::string path_;
};

class MountedFiles final : public events::LogFiles {
 public:
  MountedFiles(MemoryDisk& disk, std::shared_ptr<MountState> state)
      : disk_(disk), state_(std::move(state)) {}

  std::shared_ptr<events::LogFile> Open(const std::filesystem::path& path, bool create) override {
    auto found = disk_.files.find(path);
    if (found == disk_.files.end()) {
      if (!create) return nullptr;
      CheckWritable(*state_, path);
      found = disk_.files.emplace(path, std::make_shared<MemoryDisk::File>()).first;
    }
    return std::make_shared<MountedFile>(found->second, state_, path);
  }
  void Remove(const std::filesystem::path& path) override {
    CheckWritable(*state_, path);
    disk_.files.erase(path);
  }
  void SyncFolder(const std::filesystem::path& folder) override { CheckWritable(*state_, folder); }

 private:
  MemoryDisk& disk_;
  std::shared_ptr<MountState> state_;
};

}  // namespace

std::shared_ptr<events::LogFiles> MemoryDisk::Mount(std::shared_ptr<MountState> state) {
  return std::make_shared<MountedFiles>(*this, std::move(state));
}

}  // namespace pinion::simulation
