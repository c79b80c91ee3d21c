#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/json.h"
#include "store/database.h"

/// Scopes: one distinct (type, source), shared by every resource and resource type that has it. A
/// scope is what is checked and what owns versions. Every function works inside the caller's
/// transaction.
namespace pinion::store {

/// One link of the chain from a resource to a base type of the workers: the resource's own type and
/// source first, then those of its type where that is a custom one, and so on. Sources have their
/// ((vars)) filled in and their type's defaults merged.
struct ScopeLink {
  std::string type;
  Json source;
  Json params;  ///< of a custom type's get; null for resources
};
/// The scope's key: a digest over the chain, the same for equal sources however their members are
/// ordered. `resource` is given for types whose versions are made anew for each resource (`time`):
/// they share nothing.
std::string ScopeKey(const std::vector<ScopeLink>& chain, ResourceId resource = {});

struct ScopeRow {
  ScopeId id;
  std::string key;
  std::string type;
  std::optional<std::int64_t> last_check_start;  ///< unix seconds, as all times here
  std::optional<std::int64_t> last_check_end;
  std::optional<bool> last_check_succeeded;
  std::string last_check_error;
  BuildId last_check_build;
  std::string last_check_image;  ///< of the last that succeeded: CheckEnd::image
  std::optional<std::int64_t> next_check;
};

ScopeId FindOrCreateScope(Transaction& transaction, std::string_view key, std::string_view type);
std::optional<ScopeRow> FindScope(Transaction& transaction, ScopeId scope);

/// Points the resource at the scope (`resource.scoped`); nothing happens if it is there already.
/// Its versions are the scope's from then on. What its builds had, and what it has disabled, is
/// carried over to the scope's equal versions: now those that are there, later those that are
/// saved.
bool AttachResource(Transaction& transaction, ResourceId resource, ScopeId scope);
bool AttachResourceType(Transaction& transaction, ResourceTypeId type, ScopeId scope);

/// A version is new in the scope: carries over to it what its resources had of the equal version in
/// scopes where they were before. For whoever saves versions.
void CarryOverToVersion(Transaction& transaction, ScopeId scope, VersionId version,
                        std::string_view text);

// --- Checks ------------------------------------------------------------------------------------

/// Claims a check of the scope for a node: true for one of several that find it due. A claim lasts
/// until `SaveCheck`, or until `lease` seconds have passed (its process died). With `even_if_early`
/// the interval does not matter, a running check still does.
bool ClaimCheck(Transaction& transaction, ScopeId scope, std::string_view node, std::int64_t lease,
                bool even_if_early);

/// Prolongs the caller's claims, while their checks run.
void RenewClaims(Transaction& transaction, const std::vector<ScopeId>& scopes, std::int64_t lease);
/// Gives a claim up without a check: another may have it at once.
void ReleaseClaim(Transaction& transaction, ScopeId scope);
/// Those of a node whose process is dead: its next one is about to start, or its lease has ended.
void ReleaseClaimsOf(Transaction& transaction, std::string_view node);

/// Asks whichever process checks to check the resource soon (`resource.check_requested`).
/// kNotFound.
void RequestCheck(Transaction& transaction, ResourceId resource);

/// The end of a check. Versions are saved apart, in the same transaction.
struct CheckEnd {
  bool succeeded = false;
  std::string error;  ///< why not; at most 4096 bytes are kept
  BuildId build;      ///< if it was one
  /// Which content of a custom type's image checked; "" for base types. Kept if it succeeded.
  std::string image;
  /// When it is due again, seconds from now; nothing: not by itself.
  std::optional<std::int64_t> next_in;
};
/// `scope.checked` is appended if a pending build waits for it or the outcome turned.
void SaveCheck(Transaction& transaction, ScopeId scope, const CheckEnd& end);

/// Removes scopes that no resource and no type points at, and that were not checked since `before`;
/// with their versions. Returns how many, at most `limit`.
std::int64_t DeleteUnusedScopes(Transaction& transaction, std::int64_t before, int limit = 100);

}  // namespace pinion::store
