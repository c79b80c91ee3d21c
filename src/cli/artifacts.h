#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/target.h"

namespace pinion::cli {

struct Upload {
  std::string name;  ///< of the input, for messages
  std::string folder;
  bool all = false;  ///< also what git ignores
  std::string platform;
  std::vector<std::string> tags;
};
/// Streams a folder to the server and returns the artifact's id.
std::int64_t UploadFolder(Context& context, Target& target, const Upload& upload);

struct Download {
  std::string name;  ///< of the output, for messages
  std::int64_t artifact = 0;
  std::string folder;  ///< made if it is not there
};
/// Streams an artifact into a folder. Nothing outside of it is touched.
void DownloadArtifact(Context& context, Target& target, const Download& download);

}  // namespace pinion::cli
