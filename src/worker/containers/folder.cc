#include "worker/containers/folder.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>

#include "base/files.h"
#include "base/text.h"
#include "linux/files.h"

namespace pinion::worker {
namespace {

namespace fs = std::filesystem;
using protocol::garden::ContainerSpec;
using protocol::garden::ProcessSpec;

/// Root inside a container is nobody outside, and its runtime reaches mounts below this folder as
/// it.
Result<void> MakeFolder(const fs::path& path) {
  if (::mkdir(path.c_str(), 0711) != 0 && errno != EEXIST) {
    return std::unexpected(SystemError("make folder " + path.string(), errno));
  }
  return {};
}

template <class T>
Result<T> Load(const fs::path& path) {
  auto text = ReadFile(path);
  if (!text) return std::unexpected(std::move(text).error());
  auto value = FromText<T>(*text);
  if (!value) return std::unexpected(std::move(value).error().Context("reading " + path.string()));
  return value;
}

std::int64_t SizeOf(const fs::path& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  return error ? 0 : static_cast<std::int64_t>(size);
}

}  // namespace

Result<void> ContainerFolder::Make(const ContainerSpec& spec) const {
  if (auto made = MakeFolder(path_); !made) return made;
  if (auto made = MakeFolder(path_ / "processes"); !made) return made;
  return linux::ReplaceFile(path_ / "spec.json", ToText(ToJson(spec)));
}

Result<void> ContainerFolder::MakeRunFolder() const {
  if (auto made = MakeFolder(run_path_); !made) return made;
  std::error_code error;
  const fs::path target = fs::absolute(path_, error);
  if (::symlink(target.c_str(), (run_path_ / "state").c_str()) != 0 && errno != EEXIST) {
    return std::unexpected(SystemError("link " + (run_path_ / "state").string(), errno));
  }
  return {};
}

Result<ContainerSpec> ContainerFolder::LoadSpec() const {
  return Load<ContainerSpec>(path_ / "spec.json");
}

Result<void> ContainerFolder::SaveState(const ContainerState& state) const {
  return linux::ReplaceFile(path_ / "state.json", ToText(ToJson(state)));
}

Result<ContainerState> ContainerFolder::LoadState() const {
  return Load<ContainerState>(path_ / "state.json");
}

std::string ContainerFolder::LoadEnded() const {
  return ReadFile(path_ / "ended", 4096).value_or("");
}

fs::path ContainerFolder::ProcessPath(std::uint32_t number) const {
  return path_ / "processes" / std::to_string(number);
}

Result<void> ContainerFolder::MakeProcess(std::uint32_t number, const ProcessSpec& spec,
                                          const std::string& init_spec,
                                          const std::optional<std::string>& input) const {
  const fs::path folder = ProcessPath(number);
  if (auto made = MakeFolder(folder); !made) return made;
  if (auto saved = linux::ReplaceFile(run_path_ / ("spec-" + std::to_string(number)), init_spec);
      !saved)
    return saved;
  if (input) {
    if (auto saved = linux::ReplaceFile(InputPath(number), *input, 0600); !saved) return saved;
  }
  return linux::ReplaceFile(folder / "id.json", ToText(ToJson(spec)));
}

fs::path ContainerFolder::InputPath(std::uint32_t number) const {
  return run_path_ / ("input-" + std::to_string(number));
}

bool ContainerFolder::HasInput(std::uint32_t number) const {
  std::error_code ignored;
  return fs::exists(InputPath(number), ignored);
}

std::optional<ProcessEnd> ContainerFolder::LoadEnd(std::uint32_t number) const {
  auto text = ReadFile(ProcessPath(number) / "exit", 4096);
  if (!text) return std::nullopt;
  const std::string_view line(*text);
  const std::size_t first = line.find(' ');
  if (first == std::string_view::npos) return std::nullopt;
  const std::string_view word = line.substr(0, first);
  const std::string_view rest = line.substr(first + 1);
  ProcessEnd end;
  const auto [number_end, error] =
      std::from_chars(rest.data(), rest.data() + rest.size(), end.exit_status);
  if (error != std::errc()) return std::nullopt;
  if (word == "exit") return end;
  end.unexecuted = word == "unexecuted";
  end.error = Trim(std::string_view(number_end, rest.data() + rest.size()));
  if (!end.unexecuted && end.error.empty()) end.error = "it ended for no known reason";
  return end;
}

std::vector<StoredProcess> ContainerFolder::LoadProcesses() const {
  std::vector<StoredProcess> processes;
  std::error_code error;
  for (fs::directory_iterator entry(path_ / "processes", error), last; !error && entry != last;
       entry.increment(error)) {
    const std::string name = entry->path().filename();
    StoredProcess process;
    const auto [end, bad] = std::from_chars(name.data(), name.data() + name.size(), process.number);
    if (bad != std::errc() || end != name.data() + name.size()) continue;
    auto spec = Load<ProcessSpec>(entry->path() / "id.json");
    if (!spec) continue;
    process.spec = std::move(*spec);
    process.end = LoadEnd(process.number);
    process.stdout_size = SizeOf(entry->path() / "stdout");
    process.stderr_size = SizeOf(entry->path() / "stderr");
    processes.push_back(std::move(process));
  }
  std::ranges::sort(processes, {}, &StoredProcess::number);
  return processes;
}

void ContainerFolder::RemoveProcess(std::uint32_t number) const {
  std::error_code ignored;
  fs::remove_all(ProcessPath(number), ignored);
  fs::remove(run_path_ / ("spec-" + std::to_string(number)), ignored);
}

Result<void> CheckHandle(const std::string& handle) {
  const bool good = !handle.empty() && handle.size() <= 128 &&
                    std::isalnum(static_cast<unsigned char>(handle[0])) &&
                    std::ranges::all_of(handle, [](unsigned char c) {
                      return std::isalnum(c) || c == '_' || c == '-' || c == '.';
                    });
  if (good) return {};
  return Fail(
      ErrorKind::kInvalid,
      "container handle \"" + handle.substr(0, 128) +
          "\" is refused: use 1 to 128 letters, digits, '_', '-' and '.', the first a letter "
          "or digit");
}

}  // namespace pinion::worker
