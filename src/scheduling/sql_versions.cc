#include "scheduling/sql_versions.h"

#include <set>
#include <tuple>
#include <unordered_map>

#include "store/versions.h"

namespace pinion::scheduling {
namespace {

using store::Param;
using store::Row;
using store::Rows;

constexpr std::string_view kEnabled =
    "not exists (select 1 from disabled_versions d where d.resource_id = r.id and d.version_id = "
    "v.id)";

std::string NewestEnabled() {
  return "(select v.id from versions v where v.scope_id = r.scope_id and " + std::string(kEnabled) +
         " order by v.check_order desc limit 1)";
}

BuildCursor ReadCursor(const Row& row) {
  return {row.As<BuildTag>(0), row.As<BuildTag>(1)};
}

class SqlVersions final : public VersionsSource {
 public:
  SqlVersions(store::Transaction& transaction, JobId job) : transaction_(transaction), job_(job) {}

  std::optional<VersionId> LatestVersion(ResourceId resource) override {
    if (!latest_read_) ReadLatest();
    const auto known = latest_.find(resource);
    if (known != latest_.end()) return known->second;
    const auto row = transaction_.QueryOne(
        "select " + NewestEnabled() + " from resources r where r.id = $1", {resource});
    std::optional<VersionId> version;
    if (row && !row->IsNull(0)) version = row->As<VersionTag>(0);
    latest_[resource] = version;
    return version;
  }

  std::optional<VersionId> FindPinned(ResourceId resource,
                                      const protocol::Version& version) override {
    return store::FindPinned(transaction_, resource, version);
  }

  bool IsDisabled(ResourceVersion version) override {
    const auto [disabled, fresh] = disabled_.try_emplace(version.resource);
    if (fresh) {
      for (const Row& row :
           transaction_.Query("select version_id from disabled_versions where resource_id = $1",
                              {version.resource})) {
        disabled->second.insert(row.As<VersionTag>(0));
      }
    }
    return disabled->second.contains(version.version);
  }

  bool Exists(ResourceVersion version) override {
    return transaction_
        .QueryOne(
            "select 1 from versions v join resources r on r.scope_id = v.scope_id where r.id = $1 "
            "and v.id = $2",
            {version.resource, version.version})
        .has_value();
  }

  std::optional<NextVersion> NextEveryVersion(JobId job, ResourceId resource) override {
    const auto used = NewestUsed(job, resource);
    if (!used) {
      const auto latest = LatestVersion(resource);
      if (!latest) return std::nullopt;
      return NextVersion{*latest, false};
    }
    const Rows after = transaction_.Query(
        "select v.id from versions v join resources r on r.scope_id = v.scope_id where r.id = $1 "
        "and "
        "v.check_order > $2 and " +
            std::string(kEnabled) + " order by v.check_order limit 2",
        {resource, used->order});
    if (!after.empty()) return NextVersion{after[0].As<VersionTag>(0), after.size() > 1};
    const auto before = transaction_.QueryOne(
        "select v.id from versions v join resources r on r.scope_id = v.scope_id where r.id = $1 "
        "and "
        "v.check_order <= $2 and " +
            std::string(kEnabled) + " order by v.check_order desc limit 1",
        {resource, used->order});
    if (!before) return std::nullopt;
    return NextVersion{before->As<VersionTag>(0), false};
  }

  bool IsFirstOccurrence(JobId job, const std::string& input, ResourceVersion version) override {
    if (!last_inputs_read_) ReadLastInputs();
    if (last_inputs_.contains({input, version.resource, version.version})) return false;
    return !transaction_
                .QueryOne(
                    "select 1 from build_inputs i join builds b on b.id = i.build_id where "
                    "i.version_id = $1 and i.resource_id = $2 and i.name = $3 and b.job_id = $4 "
                    "limit 1",
                    {version.version, version.resource, input, job})
                .has_value();
  }

  std::optional<BuildId> LatestBuildUsingLatestVersion(JobId job, ResourceId resource) override {
    const auto used = NewestUsed(job, resource);
    if (!used) return std::nullopt;
    const auto row = transaction_.QueryOne(
        "select max(b.id) from build_inputs i join builds b on b.id = i.build_id where "
        "i.version_id = "
        "$1 and i.resource_id = $2 and b.job_id = $3",
        {used->version, resource, job});
    if (!row || row->IsNull(0)) return std::nullopt;
    return row->As<BuildTag>(0);
  }

  std::map<JobId, BuildCursor> Pipes(BuildId build) override {
    std::map<JobId, BuildCursor> pipes;
    for (const Row& row : transaction_.Query(
             "select b.id, b.rerun_of, b.job_id from build_pipes p join builds b on b.id = "
             "p.from_build_id where p.to_build_id = $1 order by b.id",
             {build})) {
      pipes[row.As<JobTag>(2)] = ReadCursor(row);
    }
    return pipes;
  }

  const std::vector<ResourceVersion>& Outputs(BuildId build) override {
    const auto [outputs, fresh] = outputs_.try_emplace(build);
    if (fresh) {
      for (const Row& row : transaction_.Query("select resource_id, version_id from "
                                               "succeeded_versions where build_id = $1 order by "
                                               "resource_id, position",
                                               {build})) {
        outputs->second.push_back({row.As<ResourceTag>(0), row.As<VersionTag>(1)});
      }
    }
    return outputs->second;
  }

  std::vector<BuildCursor> SucceededBuilds(JobId job, std::optional<BuildCursor> before,
                                           bool inclusive, std::optional<ResourceVersion> having,
                                           std::size_t limit) override {
    std::vector<Param> params = {job};
    const auto placeholder = [&](Param param) {
      params.push_back(std::move(param));
      return "$" + std::to_string(params.size());
    };
    // The builds of a job without a version of anything vouch for nothing: they are not among them.
    std::string sql =
        "select distinct build_id, rerun_of, coalesce(rerun_of, build_id) from succeeded_versions "
        "where "
        "job_id = $1";
    if (having) {
      sql += " and version_id = " + placeholder(having->version) +
             " and resource_id = " + placeholder(having->resource);
    }
    if (before) {
      sql += " and (coalesce(rerun_of, build_id), build_id) ";
      sql += inclusive ? "<= (" : "< (";
      sql += placeholder(before->group());
      sql += ", " + placeholder(before->build) + ")";
    }
    sql += " order by 3 desc, 1 desc limit " + placeholder(static_cast<std::int64_t>(limit));
    std::vector<BuildCursor> builds;
    for (const Row& row : transaction_.QueryList(sql, params))
      builds.push_back(ReadCursor(row));
    return builds;
  }

  std::vector<BuildCursor> NewerBuilds(JobId job, BuildCursor cursor) override {
    std::vector<BuildCursor> builds;
    const std::string select =
        "select distinct build_id, rerun_of, coalesce(rerun_of, build_id) from succeeded_versions "
        "where "
        "job_id = $1 and (coalesce(rerun_of, build_id) > $2";
    const Rows rows =
        cursor.rerun_of
            ? transaction_.Query(select + " or (rerun_of = $2 and build_id > $3)) order by 3, 1",
                                 {job, cursor.group(), cursor.build})
            : transaction_.Query(select + ") order by 3, 1", {job, cursor.group()});
    for (const Row& row : rows)
      builds.push_back(ReadCursor(row));
    return builds;
  }

 private:
  struct Used {
    VersionId version;
    std::int64_t order = 0;
  };

  // The newest version that any build of the job had of the resource. Walks the history from its
  // end, so it costs what is new.
  std::optional<Used> NewestUsed(JobId job, ResourceId resource) {
    const auto row = transaction_.QueryOne(
        "select v.id, v.check_order from versions v join resources r on r.scope_id = v.scope_id "
        "where "
        "r.id = $1 and exists (select 1 from build_inputs i join builds b on b.id = i.build_id "
        "where "
        "i.version_id = v.id and i.resource_id = $1 and b.job_id = $2) order by v.check_order desc "
        "limit "
        "1",
        {resource, job});
    if (!row) return std::nullopt;
    return Used{row->As<VersionTag>(0), row->Integer(1)};
  }

  void ReadLatest() {
    latest_read_ = true;
    for (const Row& row : transaction_.Query("select r.id, " + NewestEnabled() +
                                                 " from resources r where r.id in (select "
                                                 "resource_id from job_inputs where job_id = $1 "
                                                 "and passed_job_id is null)",
                                             {job_})) {
      std::optional<VersionId> version;
      if (!row.IsNull(1)) version = row.As<VersionTag>(1);
      latest_[row.As<ResourceTag>(0)] = version;
    }
  }

  // Most inputs are what they were in the last build.
  void ReadLastInputs() {
    last_inputs_read_ = true;
    for (const Row& row : transaction_.Query(
             "select name, resource_id, version_id from build_inputs where build_id = (select id "
             "from "
             "builds where job_id = $1 and status <> 'pending' order by id desc limit 1)",
             {job_})) {
      last_inputs_.emplace(row.Text(0), row.As<ResourceTag>(1), row.As<VersionTag>(2));
    }
  }

  store::Transaction& transaction_;
  JobId job_;
  bool latest_read_ = false;
  std::map<ResourceId, std::optional<VersionId>> latest_;
  bool last_inputs_read_ = false;
  std::set<std::tuple<std::string, ResourceId, VersionId>> last_inputs_;
  std::map<ResourceId, std::set<VersionId>> disabled_;
  std::unordered_map<BuildId, std::vector<ResourceVersion>> outputs_;
};

}  // namespace

std::unique_ptr<VersionsSource> MakeSqlVersions(store::Transaction& transaction, JobId job) {
  return std::make_unique<SqlVersions>(transaction, job);
}

}  // namespace pinion::scheduling
