#include "store/build_history.h"

#include "store/change_kinds.h"

namespace pinion::store {
namespace {

struct Old {
  BuildId id;
  TeamId team;
};

std::vector<Old> Find(Transaction& transaction, std::string_view condition, std::int64_t before,
                      int limit) {
  std::vector<Old> found;
  for (const Row& row : transaction.Query(
           "select b.id, b.team_id from builds b where b.job_id is null and b.end_time < $1 and " +
               std::string(condition) + " order by b.end_time limit $2",
           {before, limit})) {
    found.push_back({row.IdAt<BuildId>(0), row.IdAt<TeamId>(1)});
  }
  return found;
}

void Delete(Transaction& transaction, const std::vector<Old>& builds) {
  for (const Old& build : builds) {
    transaction.Execute("delete from builds where id = $1", {build.id});
    transaction.AppendChange(kinds::kBuildDeleted, build.id.value, build.team);
  }
}

}  // namespace

std::vector<LoggedBuildRow> ListLoggedBuilds(Transaction& transaction, JobId job) {
  std::vector<LoggedBuildRow> builds;
  for (const Row& row : transaction.Query("select id, status, end_time from builds where job_id = "
                                          "$1 and reap_time is null order by id desc",
                                          {job})) {
    builds.push_back({row.IdAt<BuildId>(0), ParseBuildStatus(row.Text(1)), row.OptionalInteger(2)});
  }
  return builds;
}

std::vector<BuildId> ListWithoutLog(Transaction& transaction, const std::vector<BuildId>& builds) {
  std::vector<BuildId> without;
  for (const BuildId build : builds) {
    if (!transaction.QueryOne("select 1 from builds where id = $1 and reap_time is null",
                              {build})) {
      without.push_back(build);
    }
  }
  return without;
}

std::vector<BuildId> DeleteOneOffBuilds(Transaction& transaction, std::int64_t before, int limit) {
  const std::vector<Old> old =
      Find(transaction, "b.resource_id is null and b.resource_type_id is null", before, limit);
  Delete(transaction, old);
  std::vector<BuildId> deleted;
  for (const Old& build : old)
    deleted.push_back(build.id);
  return deleted;
}

std::int64_t DeleteReplacedChecks(Transaction& transaction, std::int64_t before, int limit) {
  const std::vector<Old> old =
      Find(transaction,
           "((b.resource_id is not null and exists (select 1 from builds n where n.resource_id = "
           "b.resource_id and n.id > b.id)) or (b.resource_type_id is not null and exists (select "
           "1 from builds n where n.resource_type_id = b.resource_type_id and n.id > b.id)))",
           before, limit);
  Delete(transaction, old);
  return static_cast<std::int64_t>(old.size());
}

}  // namespace pinion::store
