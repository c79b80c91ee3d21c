#include "store/scopes.h"

#include <algorithm>

#include "base/encoding.h"
#include "store/change_kinds.h"

namespace pinion::store {
namespace {

constexpr std::size_t kErrorBytes = 4096;

// Equal objects give equal text, however deep the difference in order lies.
Json Sorted(const Json& value) {
  if (value.IsObject()) {
    JsonObject object;
    for (const auto& [name, member] : value.AsObject())
      object.Set(name, Sorted(member));
    object.SortByName();
    return object;
  }
  if (value.IsArray()) {
    JsonArray array;
    for (const Json& item : value.AsArray())
      array.push_back(Sorted(item));
    return array;
  }
  return value;
}

constexpr std::string_view kVersionTables[] = {"build_inputs", "build_outputs",
                                               "succeeded_versions", "disabled_versions"};

// What the resource had of one version becomes another's.
void MoveVersion(Transaction& transaction, ResourceId resource, VersionId from, VersionId to) {
  for (const std::string_view table : kVersionTables) {
    transaction.Execute("update " + std::string(table) +
                            " set version_id = $3 where version_id = $2 and resource_id = $1",
                        {resource, from, to});
  }
}

void CarryOver(Transaction& transaction, ResourceId resource, ScopeId scope) {
  for (const Row& row : transaction.Query(
           "select o.id, n.id from former_scopes f join versions o on o.scope_id = f.scope_id join "
           "versions n on n.scope_id = $2 and n.version = o.version where f.resource_id = $1 and "
           "(exists (select 1 from build_inputs i where i.version_id = o.id and i.resource_id = "
           "$1) or exists (select 1 from build_outputs i where i.version_id = o.id and "
           "i.resource_id = $1) or exists (select 1 from disabled_versions d where d.version_id = "
           "o.id and d.resource_id = $1))",
           {resource, scope})) {
    MoveVersion(transaction, resource, row.As<VersionTag>(0), row.As<VersionTag>(1));
  }
}

// Whether somebody should be told: a build that waits for the check of one of its inputs.
bool IsAwaited(Transaction& transaction, ScopeId scope) {
  return transaction
      .QueryOne(
          "select 1 from resources r join job_inputs i on i.resource_id = r.id join builds b on "
          "b.job_id = i.job_id where r.scope_id = $1 and b.status = 'pending' and "
          "b.needs_check = 1 limit 1",
          {scope})
      .has_value();
}

}  // namespace

std::string ScopeKey(const std::vector<ScopeLink>& chain, ResourceId resource) {
  JsonArray links;
  for (const ScopeLink& link : chain) {
    links.push_back(JsonArray{link.type, Sorted(link.source), Sorted(link.params)});
  }
  if (resource) links.push_back(resource.value);
  return ToHex(Sha256(ToText(links)));
}

ScopeId FindOrCreateScope(Transaction& transaction, std::string_view key, std::string_view type) {
  if (const auto row = transaction.QueryOne("select id from scopes where key = $1", {key})) {
    return row->As<ScopeTag>(0);
  }
  // The update makes a row that another transaction inserted meanwhile come back as well.
  return transaction
      .QueryOne(
          "insert into scopes (key, type, created_at) values ($1, $2, $3) on conflict (key) do "
          "update set type = excluded.type returning id",
          {key, type, transaction.now()})
      ->As<ScopeTag>(0);
}

std::optional<ScopeRow> FindScope(Transaction& transaction, ScopeId scope) {
  const auto row = transaction.QueryOne(
      "select id, key, type, last_check_start, last_check_end, last_check_succeeded, "
      "last_check_error, last_check_build_id, next_check, last_check_image from scopes where id = "
      "$1",
      {scope});
  if (!row) return std::nullopt;
  ScopeRow found;
  found.id = row->As<ScopeTag>(0);
  found.key = row->Text(1);
  found.type = row->Text(2);
  found.last_check_start = row->OptionalInteger(3);
  found.last_check_end = row->OptionalInteger(4);
  if (!row->IsNull(5)) found.last_check_succeeded = row->Bool(5);
  found.last_check_error = row->Text(6);
  found.last_check_build = row->As<BuildTag>(7);
  found.next_check = row->OptionalInteger(8);
  found.last_check_image = row->Text(9);
  return found;
}

bool AttachResource(Transaction& transaction, ResourceId resource, ScopeId scope) {
  const auto row = transaction.QueryOne(
      "select p.team_id, r.scope_id from resources r join pipelines p on p.id = r.pipeline_id "
      "where "
      "r.id = $1",
      {resource});
  if (!row || row->As<ScopeTag>(1) == scope) return false;
  transaction.Execute("update resources set scope_id = $2 where id = $1", {resource, scope});
  if (const auto former = row->As<ScopeTag>(1)) {
    transaction.Execute(
        "insert into former_scopes (resource_id, scope_id) values ($1, $2) on conflict do nothing",
        {resource, former});
    transaction.Execute("delete from former_scopes where resource_id = $1 and scope_id = $2",
                        {resource, scope});
    CarryOver(transaction, resource, scope);
  }
  transaction.AppendChange(kinds::kResourceScoped, resource.value, row->As<TeamTag>(0));
  return true;
}

bool AttachResourceType(Transaction& transaction, ResourceTypeId type, ScopeId scope) {
  const auto row = transaction.QueryOne(
      "select p.team_id, r.scope_id from resource_types r join pipelines p on p.id = r.pipeline_id "
      "where r.id = $1",
      {type});
  if (!row || row->As<ScopeTag>(1) == scope) return false;
  transaction.Execute("update resource_types set scope_id = $2 where id = $1", {type, scope});
  transaction.AppendChange(kinds::kResourceTypeScoped, type.value, row->As<TeamTag>(0));
  return true;
}

void CarryOverToVersion(Transaction& transaction, ScopeId scope, VersionId version,
                        std::string_view text) {
  for (const Row& row : transaction.Query(
           "select f.resource_id, o.id from resources r join former_scopes f on f.resource_id = "
           "r.id join versions o on o.scope_id = f.scope_id and o.version = $2 where r.scope_id = "
           "$1",
           {scope, text})) {
    MoveVersion(transaction, row.As<ResourceTag>(0), row.As<VersionTag>(1), version);
  }
}

bool ClaimCheck(Transaction& transaction, ScopeId scope, std::string_view node, std::int64_t lease,
                bool even_if_early) {
  // What began or ended in the future was noted before the clock was set back: neither the claim
  // nor the next check's time means anything then.
  return transaction.Execute(
             "update scopes set last_check_start = $2, claimed_until = $3, claimed_by = $5 where "
             "id = $1 and "
             "(claimed_until is null or claimed_until <= $2 or last_check_start > $2) and ($4 = 1 "
             "or next_check is null or next_check <= $2 or last_check_end > $2)",
             {scope, transaction.now(), transaction.now() + lease, even_if_early, node}) > 0;
}

void RenewClaims(Transaction& transaction, const std::vector<ScopeId>& scopes, std::int64_t lease) {
  for (const ScopeId scope : scopes) {
    transaction.Execute(
        "update scopes set claimed_until = $2 where id = $1 and claimed_until is not null",
        {scope, transaction.now() + lease});
  }
}

void ReleaseClaim(Transaction& transaction, ScopeId scope) {
  transaction.Execute("update scopes set claimed_until = null where id = $1", {scope});
}

void ReleaseClaimsOf(Transaction& transaction, std::string_view node) {
  transaction.Execute(
      "update scopes set claimed_until = null where claimed_by = $1 and claimed_until is not null",
      {node});
}

void RequestCheck(Transaction& transaction, ResourceId resource) {
  const auto row = transaction.QueryOne(
      "select p.team_id from resources r join pipelines p on p.id = r.pipeline_id where r.id = $1",
      {resource});
  if (!row) throw Failure(ErrorKind::kNotFound, "no resource " + std::to_string(resource.value));
  transaction.AppendChange(kinds::kResourceCheckRequested, resource.value, row->As<TeamTag>(0));
}

void SaveCheck(Transaction& transaction, ScopeId scope, const CheckEnd& end) {
  const auto before = FindScope(transaction, scope);
  if (!before) return;
  std::optional<std::int64_t> next;
  if (end.next_in) next = transaction.now() + *end.next_in;
  const std::string error = end.error.substr(0, std::min(end.error.size(), kErrorBytes));
  transaction.Execute(
      "update scopes set last_check_end = $2, last_check_succeeded = $3, last_check_error = $4, "
      "last_check_build_id = coalesce($5, last_check_build_id), next_check = $6, claimed_until = "
      "null, last_check_image = $7, last_check_newest_build = (select coalesce(max(id), 0) from "
      "builds) where id = $1",
      {scope, transaction.now(), end.succeeded, error, end.build, next,
       end.succeeded ? end.image : before->last_check_image});
  const bool turned = before->last_check_succeeded.value_or(true) != end.succeeded;
  if (turned || IsAwaited(transaction, scope)) {
    JsonObject data;
    data.Set("succeeded", end.succeeded);
    transaction.AppendChange(kinds::kScopeChecked, scope.value, TeamId{}, std::move(data));
  }
}

std::int64_t DeleteUnusedScopes(Transaction& transaction, std::int64_t before, int limit) {
  // Versions that a build had are part of its history: their scope stays as long as the build.
  return transaction.Execute(
      "delete from scopes where id in (select s.id from scopes s where "
      "coalesce(s.last_check_end, s.last_check_start, s.created_at) < $1 and "
      "coalesce(s.claimed_until, 0) < $2 and "
      "not exists (select 1 from resources r where r.scope_id = s.id) and "
      "not exists (select 1 from resource_types t where t.scope_id = s.id) and "
      "not exists (select 1 from versions v join build_inputs i on i.version_id = v.id "
      "where v.scope_id = s.id) and "
      "not exists (select 1 from versions v join build_outputs o on o.version_id = v.id "
      "where v.scope_id = s.id) limit $3)",
      {before, transaction.now(), limit});
}

}  // namespace pinion::store
