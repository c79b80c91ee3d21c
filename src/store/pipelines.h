#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "store/database.h"
#include "store/visibility.h"

namespace pinion::store {

/// A pipeline with its team's name, without its configuration.
struct PipelineRow {
  PipelineId id;
  std::string name;
  std::string instance_vars;  ///< JSON with sorted keys, "" for none
  TeamId team;
  std::string team_name;
  std::int64_t config_version = 0;
  bool paused = false;
  std::string paused_by;
  std::int64_t paused_at = 0;
  bool is_public = false;
  bool archived = false;
  std::int64_t last_updated = 0;
  std::int64_t parent_job = 0;
  std::int64_t parent_build = 0;
  std::string groups;     ///< JSON or ""
  std::string display;    ///< JSON or ""
  std::string user_data;  ///< JSON or ""
};

std::optional<PipelineRow> FindPipeline(Transaction& transaction, std::string_view team,
                                        std::string_view name, std::string_view instance_vars);
std::optional<PipelineRow> FindPipelineById(Transaction& transaction, PipelineId pipeline);
/// In the teams' order of pipelines, archived ones included.
std::vector<PipelineRow> ListPipelines(Transaction& transaction, const Visibility& visibility);
std::vector<PipelineRow> ListTeamPipelines(Transaction& transaction, TeamId team, bool public_only);
/// The configuration's normal form, JSON.
std::string PipelineConfigText(Transaction& transaction, PipelineId pipeline);

// --- Setting
// --------------------------------------------------------------------------------------

struct NewResource {
  std::string name;
  std::string old_name;
  std::string type;
  std::string config;                         ///< JSON
  std::optional<std::string> pinned_version;  ///< JSON with sorted keys
};
struct NewResourceType {
  std::string name;
  std::string type;
  std::string config;
};
struct NewJobInput {
  std::string name;
  std::string resource;
  std::vector<std::string> passed;  ///< names or globs (* ? [a-z])
  bool trigger = false;
  std::optional<std::string> version;  ///< nothing: latest; "every", or a JSON version
};
struct NewJobOutput {
  std::string name;
  std::string resource;
};
struct NewJob {
  std::string name;
  std::string old_name;
  std::string config;
  std::vector<std::string> serial_groups;
  std::vector<NewJobInput> inputs;
  std::vector<NewJobOutput> outputs;
};
/// A validated configuration, laid out for the tables.
struct NewPipeline {
  std::string name;
  std::string instance_vars;
  std::string config;
  std::vector<NewResource> resources;
  std::vector<NewResourceType> resource_types;
  std::vector<NewJob> jobs;
};
struct SavePipelineOptions {
  /// What the caller last saw: 0 for "none there". Nothing: whatever is there is replaced (a
  /// set_pipeline step).
  std::optional<std::int64_t> expected_version;
  /// A new pipeline starts paused, one that was archived stays so. Otherwise an archived one runs.
  bool initially_paused = true;
  std::int64_t parent_job = 0;
  std::int64_t parent_build = 0;  ///< a pipeline set by a newer build is not overwritten: kConflict
};
struct SavedPipeline {
  PipelineId id;
  bool created = false;
};
/// Stores the configuration with jobs, resources and types: those that stay keep their ids, those
/// of an old_name take the new one, those that are gone become inactive and keep their history.
/// Appends `pipeline.configured`. kConflict when the stored version is another than expected.
SavedPipeline SavePipeline(Transaction& transaction, TeamId team, const NewPipeline& pipeline,
                           const SavePipelineOptions& options);

// --- Simple writes: each appends its change and may be repeated ---------------------------------

void PausePipeline(Transaction& transaction, const PipelineRow& pipeline, std::string_view by);
void UnpausePipeline(Transaction& transaction, const PipelineRow& pipeline);
void SetPipelinePublic(Transaction& transaction, const PipelineRow& pipeline, bool is_public);
/// Pauses it too and forgets its configuration; its builds stay.
void ArchivePipeline(Transaction& transaction, const PipelineRow& pipeline);
/// Renames every instance of the group. False if there is none; kConflict if the name is taken.
bool RenamePipelines(Transaction& transaction, TeamId team, std::string_view from,
                     std::string_view to);
/// With its jobs, resources and builds.
void DestroyPipeline(Transaction& transaction, const PipelineRow& pipeline);
/// Puts the named groups in this order. kNotFound names the first unknown one.
void OrderPipelines(Transaction& transaction, TeamId team, const std::vector<std::string>& names);
/// Orders the instances of one group by their instance vars (JSON with sorted keys).
void OrderInstances(Transaction& transaction, TeamId team, std::string_view name,
                    const std::vector<std::string>& instance_vars);

}  // namespace pinion::store
