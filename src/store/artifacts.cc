#include "store/artifacts.h"

namespace pinion::store {

namespace {

constexpr std::string_view kColumns =
    "id, team_id, name, build_id, worker_name, volume_handle, created_at";

ArtifactRow ReadArtifact(const Row& row) {
  return {.id = row.IdAt<ArtifactId>(0),
          .team = row.IdAt<TeamId>(1),
          .name = row.Text(2),
          .build = row.IdAt<BuildId>(3),
          .worker = row.Text(4),
          .volume = row.Text(5),
          .created_at = row.Integer(6)};
}

}  // namespace

ArtifactRow CreateArtifact(Transaction& transaction, TeamId team, std::string_view name,
                           BuildId build, std::string_view worker, std::string_view volume) {
  const auto row = transaction.QueryOne(
      "insert into artifacts (team_id, name, build_id, worker_name, volume_handle, created_at)"
      " values ($1, $2, $3, $4, $5, $6) returning " +
          std::string(kColumns),
      {team, name, build, worker, volume, transaction.now()});
  return ReadArtifact(row.value());
}

std::optional<ArtifactRow> FindArtifact(Transaction& transaction, TeamId team, ArtifactId id) {
  const auto row = transaction.QueryOne(
      "select " + std::string(kColumns) + " from artifacts where id = $1 and team_id = $2",
      {id, team});
  if (!row) return std::nullopt;
  return ReadArtifact(*row);
}

std::vector<ArtifactRow> ListBuildArtifacts(Transaction& transaction, BuildId build) {
  std::vector<ArtifactRow> artifacts;
  for (const Row& row : transaction.Query(
           "select " + std::string(kColumns) + " from artifacts where build_id = $1 order by id",
           {build})) {
    artifacts.push_back(ReadArtifact(row));
  }
  return artifacts;
}

}  // namespace pinion::store
