#include "store/teams.h"

#include "store/change_kinds.h"

namespace pinion::store {

namespace {

TeamRow ReadTeam(const Row& row) {
  return {
      .id = row.IdAt<TeamId>(0), .name = row.Text(1), .admin = row.Bool(2), .auth = row.Text(3)};
}

void RefuseTaken(Transaction& transaction, std::string_view name) {
  if (FindTeam(transaction, name)) {
    throw Failure(ErrorKind::kConflict, "a team named '" + std::string(name) + "' exists already");
  }
}

}  // namespace

std::vector<TeamRow> ListTeams(Transaction& transaction) {
  std::vector<TeamRow> teams;
  for (const Row& row :
       transaction.Query("select id, name, admin, auth from teams order by name")) {
    teams.push_back(ReadTeam(row));
  }
  return teams;
}

std::optional<TeamRow> FindTeam(Transaction& transaction, std::string_view name) {
  const auto row =
      transaction.QueryOne("select id, name, admin, auth from teams where name = $1", {name});
  if (!row) return std::nullopt;
  return ReadTeam(*row);
}

TeamRow CreateTeam(Transaction& transaction, std::string_view name, std::string_view auth,
                   bool admin) {
  RefuseTaken(transaction, name);
  const auto row = transaction.QueryOne(
      "insert into teams (name, admin, auth) values ($1, $2, $3) returning id, name, admin, auth",
      {name, admin, auth});
  TeamRow team = ReadTeam(row.value());
  transaction.AppendChange(kinds::kTeamConfigured, team.id.value, team.id);
  return team;
}

void SetTeamAuth(Transaction& transaction, TeamId team, std::string_view auth) {
  transaction.Execute("update teams set auth = $2 where id = $1", {team, auth});
  transaction.AppendChange(kinds::kTeamConfigured, team.value, team);
}

void RenameTeam(Transaction& transaction, TeamId team, std::string_view name) {
  RefuseTaken(transaction, name);
  transaction.Execute("update teams set name = $2 where id = $1", {team, name});
  transaction.AppendChange(kinds::kTeamRenamed, team.value, team);
}

void DestroyTeam(Transaction& transaction, TeamId team) {
  const auto others =
      transaction.QueryOne("select count(*) from teams where admin = 1 and id <> $1", {team});
  if (others->Integer(0) == 0) {
    throw Failure(ErrorKind::kConflict, "the last admin team cannot be destroyed");
  }
  transaction.Execute("delete from teams where id = $1", {team});
  transaction.AppendChange(kinds::kTeamDestroyed, team.value, team);
}

TeamRow EnsureMainTeam(Transaction& transaction, std::string_view auth) {
  auto team = FindTeam(transaction, "main");
  if (!team) return CreateTeam(transaction, "main", auth, true);
  if (team->auth != auth) SetTeamAuth(transaction, team->id, auth);
  team->auth = auth;
  return *team;
}

}  // namespace pinion::store
