#include "app/resource_types.h"

#include <algorithm>
#include <filesystem>

#include "base/files.h"

namespace pinion::app {

namespace fs = std::filesystem;

std::string ResourceTypesFolder(const ServerOptions& options) {
  if (!options.worker_resource_types.empty()) {
    return fs::is_directory(options.worker_resource_types) ? options.worker_resource_types : "";
  }
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  std::vector<fs::path> candidates;
  // A build has the program in its root or below src/app.
  for (fs::path folder = program.parent_path(); folder.has_relative_path();
       folder = folder.parent_path()) {
    candidates.push_back(folder / "resource-types");
    if (candidates.size() == 3) break;
  }
  candidates.emplace_back("/usr/lib/pinion/resource-types");
  const auto found = std::ranges::find_if(
      candidates, [](const fs::path& candidate) { return fs::is_directory(candidate); });
  return found == candidates.end() ? "" : found->string();
}

Result<std::vector<store::WorkerResourceType>> ReadResourceTypes(const std::string& folder) {
  std::vector<store::WorkerResourceType> types;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    if (!entry.is_directory()) continue;
    const fs::path metadata = entry.path() / "resource_metadata.json";
    const auto text = ReadFile(metadata, 1 << 20);
    if (!text) return std::unexpected(text.error());
    auto type = FromText<store::WorkerResourceType>(*text);
    if (!type) return std::unexpected(std::move(type.error()).Context(metadata.string()));
    type->image = entry.path() / "rootfs.tgz";
    types.push_back(std::move(*type));
  }
  if (error) return std::unexpected(SystemError("read " + folder, error.value()));
  std::ranges::sort(types, {}, &store::WorkerResourceType::type);
  return types;
}

}  // namespace pinion::app
