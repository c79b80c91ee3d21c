#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "store/database.h"

namespace pinion::store {

/// A volume that was uploaded by `fly execute`, or left by a build for download.
struct ArtifactRow {
  ArtifactId id;
  TeamId team;
  std::string name;
  BuildId build;  ///< 0 for uploads
  std::string worker;
  std::string volume;
  std::int64_t created_at = 0;  ///< unix seconds
};

ArtifactRow CreateArtifact(Transaction& transaction, TeamId team, std::string_view name,
                           BuildId build, std::string_view worker, std::string_view volume);
/// Within the team.
std::optional<ArtifactRow> FindArtifact(Transaction& transaction, TeamId team, ArtifactId id);
std::vector<ArtifactRow> ListBuildArtifacts(Transaction& transaction, BuildId build);

}  // namespace pinion::store
