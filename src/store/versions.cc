#include "store/versions.h"

#include <algorithm>

#include "base/json_fields.h"
#include "store/builds.h"
#include "store/change_kinds.h"
#include "store/scopes.h"

namespace pinion::store {
namespace {

constexpr std::string_view kVersionColumns =
    "v.id, v.scope_id, v.version, v.metadata, v.check_order";

VersionRow ReadVersion(const Row& row, bool enabled) {
  return {row.As<VersionTag>(0), row.As<ScopeTag>(1), row.Text(2),
          row.Text(3),           row.Integer(4),      enabled};
}

struct Known {
  VersionId id;
  bool fresh = false;  // not seen by a check or a put before
};

Known Upsert(Transaction& transaction, ScopeId scope, const std::string& text) {
  if (const auto row = transaction.QueryOne(
          "select id, check_order from versions where scope_id = $1 and version = $2",
          {scope, text})) {
    return {row->As<VersionTag>(0), row->Integer(1) == 0};
  }
  const auto row = transaction.QueryOne(
      "insert into versions (scope_id, version, check_order) values ($1, $2, 0) on conflict "
      "(scope_id, "
      "version) do update set version = excluded.version returning id, check_order",
      {scope, text});
  const Known known{row->As<VersionTag>(0), row->Integer(1) == 0};
  CarryOverToVersion(transaction, scope, known.id, text);
  return known;
}

// The next `count` places at the end of the scope's order; locks the scope's row.
std::int64_t TakeOrders(Transaction& transaction, ScopeId scope, std::int64_t count) {
  const auto row = transaction.QueryOne(
      "update scopes set next_order = next_order + $2 where id = $1 returning next_order",
      {scope, count});
  if (!row) throw Failure(ErrorKind::kNotFound, "no scope " + std::to_string(scope.value));
  return row->Integer(0) - count;
}

void RequireMembers(const protocol::Version& version) {
  if (!version.empty()) return;
  throw Failure(ErrorKind::kInvalid,
                "a version has no members: the resource must give at least one name and value");
}

struct Pin {
  TeamId team;
  ScopeId scope;
  bool pinned = false;
  bool by_config = false;
};

Pin PinOf(Transaction& transaction, ResourceId resource) {
  const auto row = transaction.QueryOne(
      "select p.team_id, r.scope_id, r.pinned_version, r.pinned_by_config from resources r join "
      "pipelines p on p.id = r.pipeline_id where r.id = $1",
      {resource});
  if (!row) throw Failure(ErrorKind::kNotFound, "no resource " + std::to_string(resource.value));
  return {row->As<TeamTag>(0), row->As<ScopeTag>(1), !row->IsNull(2), row->Bool(3)};
}

[[noreturn]] void ThrowPinnedByConfig() {
  throw Failure(ErrorKind::kConflict,
                "the resource is pinned by the pipeline's configuration: change it there");
}

}  // namespace

std::string VersionText(const protocol::Version& version) {
  return ToText(ToJson(version));
}

protocol::Version ParseVersion(std::string_view text) {
  return ValueOrThrow(FromText<protocol::Version>(text));
}

std::string MetadataText(const protocol::Metadata& metadata) {
  return ToText(ToJson(metadata));
}

bool HasMembers(const protocol::Version& version, const protocol::Version& part) {
  return std::ranges::all_of(part, [&](const auto& member) {
    const auto found = version.find(member.first);
    return found != version.end() && found->second == member.second;
  });
}

int SaveVersions(Transaction& transaction, ScopeId scope,
                 const std::vector<protocol::Version>& versions, bool in_any_case) {
  std::vector<VersionId> listed;
  listed.reserve(versions.size());
  int fresh = 0;
  for (const protocol::Version& version : versions) {
    RequireMembers(version);
    const Known known = Upsert(transaction, scope, VersionText(version));
    const bool again = std::ranges::find(listed, known.id) != listed.end();
    if (known.fresh && !again) ++fresh;
    listed.push_back(known.id);
  }
  if (listed.empty() || (fresh == 0 && !in_any_case)) return 0;
  // Known versions move too: a check from an older version lists what lies between in its true
  // order.
  std::int64_t order = TakeOrders(transaction, scope, static_cast<std::int64_t>(listed.size()));
  for (const VersionId id : listed) {
    transaction.Execute("update versions set check_order = $2 where id = $1", {id, order++});
  }
  JsonObject data;
  data.Set("new", fresh);
  transaction.AppendChange(kinds::kVersionSaved, scope.value, TeamId{}, std::move(data));
  return fresh;
}

VersionId SaveVersion(Transaction& transaction, ScopeId scope, const protocol::Version& version,
                      const protocol::Metadata& metadata) {
  RequireMembers(version);
  const Known known = Upsert(transaction, scope, VersionText(version));
  if (!metadata.empty()) {
    transaction.Execute("update versions set metadata = $2 where id = $1",
                        {known.id, MetadataText(metadata)});
  }
  if (known.fresh) {
    transaction.Execute("update versions set check_order = $2 where id = $1",
                        {known.id, TakeOrders(transaction, scope, 1)});
    JsonObject data;
    data.Set("new", 1);
    transaction.AppendChange(kinds::kVersionSaved, scope.value, TeamId{}, std::move(data));
  }
  return known.id;
}

VersionId SavePut(Transaction& transaction, BuildId build, std::string_view output,
                  ResourceId resource, ScopeId scope, const protocol::Version& version,
                  const protocol::Metadata& metadata) {
  const VersionId id = SaveVersion(transaction, scope, version, metadata);
  AttachResource(transaction, resource, scope);
  SaveBuildOutput(transaction, build, output, resource, id);
  return id;
}

bool SaveMetadata(Transaction& transaction, ResourceId resource, const protocol::Version& version,
                  const protocol::Metadata& metadata) {
  return transaction.Execute(
             "update versions set metadata = $3 where scope_id = (select scope_id from resources "
             "where "
             "id = $1) and version = $2",
             {resource, VersionText(version), MetadataText(metadata)}) > 0;
}

std::optional<VersionRow> FindVersion(Transaction& transaction, ResourceId resource,
                                      VersionId version) {
  const auto row = transaction.QueryOne(
      "select " + std::string(kVersionColumns) +
          ", d.version_id from versions v join resources r on r.scope_id = v.scope_id left join "
          "disabled_versions d on d.resource_id = r.id and d.version_id = v.id where r.id = $1 and "
          "v.id = $2",
      {resource, version});
  if (!row) return std::nullopt;
  return ReadVersion(*row, row->IsNull(5));
}

std::optional<VersionRow> FindVersionIn(Transaction& transaction, ScopeId scope,
                                        const protocol::Version& version) {
  const auto row =
      transaction.QueryOne("select " + std::string(kVersionColumns) +
                               " from versions v where v.scope_id = $1 and v.version = $2",
                           {scope, VersionText(version)});
  if (!row) return std::nullopt;
  return ReadVersion(*row, true);
}

std::optional<VersionRow> LatestVersion(Transaction& transaction, ScopeId scope) {
  const auto row = transaction.QueryOne(
      "select " + std::string(kVersionColumns) +
          " from versions v where v.scope_id = $1 order by v.check_order desc limit 1",
      {scope});
  if (!row) return std::nullopt;
  return ReadVersion(*row, true);
}

std::optional<VersionId> FindPinned(Transaction& transaction, ResourceId resource,
                                    const protocol::Version& part) {
  // Nearly every pin is a whole version: that is one look-up in an index.
  if (const auto row = transaction.QueryOne("select v.id from versions v join resources r on "
                                            "r.scope_id = v.scope_id where r.id = $1 and "
                                            "v.version = $2",
                                            {resource, VersionText(part)})) {
    return row->As<VersionTag>(0);
  }
  std::int64_t below = INT64_MAX;
  while (true) {
    const Rows rows = transaction.Query(
        "select v.id, v.version, v.check_order from versions v join resources r on r.scope_id = "
        "v.scope_id where r.id = $1 and v.check_order < $2 order by v.check_order desc limit 500",
        {resource, below});
    for (const Row& row : rows) {
      if (HasMembers(ParseVersion(row.Text(1)), part)) return row.As<VersionTag>(0);
      below = row.Integer(2);
    }
    if (rows.empty()) return std::nullopt;
  }
}

VersionList ListVersions(Transaction& transaction, ResourceId resource, const VersionPage& page) {
  VersionList list;
  const std::string select =
      "select " + std::string(kVersionColumns) +
      ", d.version_id from versions v join resources r on r.scope_id = v.scope_id left join "
      "disabled_versions d on d.resource_id = r.id and d.version_id = v.id where r.id = $1 and ";
  const bool upward = page.from > 0;
  const auto limit = static_cast<std::size_t>(std::clamp(page.limit, 1, 10'000));
  // Orders at 0 are shared by versions that no check has listed; they come last, by id.
  std::int64_t order = upward ? -1 : INT64_MAX;
  std::int64_t id = upward ? 0 : INT64_MAX;
  if (const std::int64_t bound = upward ? page.from : page.to; bound > 0) {
    const auto row = FindVersion(transaction, resource, VersionId{bound});
    if (!row) return list;
    order = row->check_order;
    id = bound + (upward ? -1 : 1);
  }
  const std::string rest =
      upward ? "(v.check_order > $2 or (v.check_order = $2 and v.id > $3)) order by "
               "v.check_order, v.id limit $4"
             : "(v.check_order < $2 or (v.check_order = $2 and v.id < $3)) order by "
               "v.check_order desc, v.id desc limit $4";
  // With a filter, pages are read until enough match; one row more tells whether there is another
  // page.
  const auto read = static_cast<std::int64_t>(page.filter.empty() ? limit + 1 : 1000);
  while (list.versions.size() <= limit) {
    const Rows rows = transaction.Query(select + rest, {resource, order, id, read});
    for (const Row& row : rows) {
      order = row.Integer(4);
      id = row.Integer(0);
      if (page.filter.empty() || HasMembers(ParseVersion(row.Text(2)), page.filter)) {
        list.versions.push_back(ReadVersion(row, row.IsNull(5)));
      }
      if (list.versions.size() > limit) break;
    }
    if (rows.size() < static_cast<std::size_t>(read)) break;
  }
  std::int64_t more = 0;
  if (list.versions.size() > limit) {
    more = list.versions.back().id.value;
    list.versions.pop_back();
  }
  if (upward) std::ranges::reverse(list.versions);
  if (list.versions.empty()) return list;
  const auto neighbour = [&](const VersionRow& row, bool newer) {
    const auto found =
        transaction.QueryOne(newer ? "select id from versions where scope_id = $1 and (check_order "
                                     "> $2 or (check_order = $2 "
                                     "and id > $3)) order by check_order, id limit 1"
                                   : "select id from versions where scope_id = $1 and (check_order "
                                     "< $2 or (check_order = $2 "
                                     "and id < $3)) order by check_order desc, id desc limit 1",
                             {row.scope, row.check_order, row.id});
    return found ? found->Integer(0) : 0;
  };
  list.newer = upward ? more : neighbour(list.versions.front(), true);
  list.older = upward ? neighbour(list.versions.back(), false) : more;
  return list;
}

bool SetVersionEnabled(Transaction& transaction, ResourceId resource, VersionId version,
                       bool enabled) {
  const Pin pin = PinOf(transaction, resource);
  if (!FindVersion(transaction, resource, version)) {
    throw Failure(ErrorKind::kNotFound,
                  "the resource has no version " + std::to_string(version.value));
  }
  const auto changed =
      enabled ? transaction.Execute(
                    "delete from disabled_versions where resource_id = $1 and version_id = $2",
                    {resource, version})
              : transaction.Execute(
                    "insert into disabled_versions (resource_id, version_id) values "
                    "($1, $2) on conflict do nothing",
                    {resource, version});
  if (changed == 0) return false;
  JsonObject data;
  data.Set("version", version.value);
  transaction.AppendChange(enabled ? kinds::kVersionEnabled : kinds::kVersionDisabled,
                           resource.value, pin.team, std::move(data));
  return true;
}

void PinVersion(Transaction& transaction, ResourceId resource, VersionId version) {
  const Pin pin = PinOf(transaction, resource);
  if (pin.by_config) ThrowPinnedByConfig();
  const auto row = FindVersion(transaction, resource, version);
  if (!row) {
    throw Failure(ErrorKind::kNotFound,
                  "the resource has no version " + std::to_string(version.value));
  }
  transaction.Execute(
      "update resources set pinned_version = $2, pinned_by_config = 0, pin_comment = '' where id = "
      "$1",
      {resource, row->version});
  JsonObject data;
  data.Set("version", version.value);
  transaction.AppendChange(kinds::kResourcePinned, resource.value, pin.team, std::move(data));
}

void UnpinVersion(Transaction& transaction, ResourceId resource) {
  const Pin pin = PinOf(transaction, resource);
  if (pin.by_config) ThrowPinnedByConfig();
  if (!pin.pinned) throw Failure(ErrorKind::kNotFound, "the resource is not pinned");
  transaction.Execute(
      "update resources set pinned_version = null, pin_comment = null where id = $1", {resource});
  transaction.AppendChange(kinds::kResourceUnpinned, resource.value, pin.team);
}

void SetPinComment(Transaction& transaction, ResourceId resource, std::string_view comment) {
  const Pin pin = PinOf(transaction, resource);
  if (!pin.pinned) throw Failure(ErrorKind::kNotFound, "the resource is not pinned");
  transaction.Execute("update resources set pin_comment = $2 where id = $1", {resource, comment});
  transaction.AppendChange(kinds::kResourceCommented, resource.value, pin.team);
}

void SetConfigPin(Transaction& transaction, ResourceId resource,
                  const std::optional<protocol::Version>& version) {
  if (version) {
    transaction.Execute(
        "update resources set pinned_version = $2, pinned_by_config = 1 where id = $1",
        {resource, VersionText(*version)});
    return;
  }
  transaction.Execute(
      "update resources set pinned_version = null, pinned_by_config = 0, pin_comment = null where "
      "id = "
      "$1 and pinned_by_config = 1",
      {resource});
}

std::int64_t ClearVersions(Transaction& transaction, ResourceId resource) {
  const Pin pin = PinOf(transaction, resource);
  if (!pin.scope) return 0;
  const auto deleted = transaction.Execute("delete from versions where scope_id = $1", {pin.scope});
  transaction.AppendChange(kinds::kResourceCleared, resource.value, pin.team);
  return deleted;
}

}  // namespace pinion::store
