#pragma once

#include "store/database.h"

/// Pipelines that set_pipeline steps set. When nothing sets one any more, it is archived.
namespace pinion::store {

/// The build set this pipeline and found nothing to change.
void SetPipelineParent(Transaction& transaction, PipelineId pipeline, JobId job, BuildId build);

/// Which jobs of a pipeline no longer set anything.
enum class GoneJobs { kAll, kInactive };
/// Archives what those jobs had set, and what that had set in turn.
void ArchiveChildren(Transaction& transaction, PipelineId parent, GoneJobs gone);

/// Archives what earlier builds of the job set and this one, which succeeded, did not.
void ArchiveLeftBehind(Transaction& transaction, JobId job, BuildId build);

}  // namespace pinion::store
