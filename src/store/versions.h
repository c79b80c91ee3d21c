#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "protocol/task_config.h"
#include "store/database.h"

/// Versions of scopes, and what a resource makes of them: disabled, pinned. Every function works
/// inside the caller's transaction. Failures: kNotFound names what is missing, kConflict a pin that
/// the configuration holds, kInvalid a version without a member.
namespace pinion::store {

/// The text of a version as the database keeps it: JSON, members by name.
std::string VersionText(const protocol::Version& version);
protocol::Version ParseVersion(std::string_view text);
std::string MetadataText(const protocol::Metadata& metadata);
/// Whether every member of `part` is in the version with the same value: how pins are found.
bool HasMembers(const protocol::Version& version, const protocol::Version& part);

/// Saves what a check listed, oldest first. If at least one was new, all that were listed move to
/// the end of the order, in the order listed; if all were known, nothing changes, but
/// `in_any_case`, which is for checks that went on from nothing. `version.saved` when something
/// did. Returns how many were new.
int SaveVersions(Transaction& transaction, ScopeId scope,
                 const std::vector<protocol::Version>& versions, bool in_any_case = false);

/// Saves one that a put made: new ones become the newest, known ones keep their place and take the
/// metadata. `version.saved` for a new one.
VersionId SaveVersion(Transaction& transaction, ScopeId scope, const protocol::Version& version,
                      const protocol::Metadata& metadata);

/// The whole of a put: the version in the scope, the resource at the scope, the build's output.
VersionId SavePut(Transaction& transaction, BuildId build, std::string_view output,
                  ResourceId resource, ScopeId scope, const protocol::Version& version,
                  const protocol::Metadata& metadata);

/// What a get learned about a version of the resource. False if there is no such version.
bool SaveMetadata(Transaction& transaction, ResourceId resource, const protocol::Version& version,
                  const protocol::Metadata& metadata);

struct VersionRow {
  VersionId id;
  ScopeId scope;
  std::string version;   ///< JSON
  std::string metadata;  ///< JSON
  std::int64_t check_order = 0;
  bool enabled = true;  ///< for the resource that was asked about
};
std::optional<VersionRow> FindVersion(Transaction& transaction, ResourceId resource,
                                      VersionId version);
std::optional<VersionRow> FindVersionIn(Transaction& transaction, ScopeId scope,
                                        const protocol::Version& version);
/// The newest by check order, disabled or not: where a check goes on from.
std::optional<VersionRow> LatestVersion(Transaction& transaction, ScopeId scope);
/// The newest version of the resource with all these members; of pins.
std::optional<VersionId> FindPinned(Transaction& transaction, ResourceId resource,
                                    const protocol::Version& part);

/// A page of a resource's versions, newest first. Bounds are version ids, inclusive, 0: open;
/// `from` alone reads upward, so that the page ends there.
struct VersionPage {
  std::int64_t from = 0;
  std::int64_t to = 0;
  int limit = 100;
  protocol::Version filter;  ///< only versions with all these members
};
struct VersionList {
  std::vector<VersionRow> versions;
  std::int64_t newer = 0;  ///< the `from` of the page before this, 0: none
  std::int64_t older = 0;  ///< the `to` of the page after this
};
VersionList ListVersions(Transaction& transaction, ResourceId resource, const VersionPage& page);

/// `version.enabled` or `version.disabled`. False if it was so already.
bool SetVersionEnabled(Transaction& transaction, ResourceId resource, VersionId version,
                       bool enabled);

/// Pins the resource to the version (`resource.pinned`). kConflict if its configuration pins it.
void PinVersion(Transaction& transaction, ResourceId resource, VersionId version);
/// `resource.unpinned`. kConflict if its configuration pins it, kNotFound if it is not pinned.
void UnpinVersion(Transaction& transaction, ResourceId resource);
/// The comment of a pin; "" removes it. kNotFound if it is not pinned.
void SetPinComment(Transaction& transaction, ResourceId resource, std::string_view comment);
/// What the configuration says: a version, or nothing, which lifts an earlier pin of the
/// configuration and leaves one of the API. For whoever saves pipelines.
void SetConfigPin(Transaction& transaction, ResourceId resource,
                  const std::optional<protocol::Version>& version);

/// Deletes every version of the resource's scope (`resource.cleared`). Returns how many.
std::int64_t ClearVersions(Transaction& transaction, ResourceId resource);

}  // namespace pinion::store
