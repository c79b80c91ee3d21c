#include "store/pipeline_parents.h"

#include "store/pipelines.h"

namespace pinion::store {
namespace {

void ArchiveAll(Transaction& transaction, const Rows& rows) {
  for (const Row& row : rows) {
    const auto pipeline = FindPipelineById(transaction, row.IdAt<PipelineId>(0));
    // One may have been the child of another on the list.
    if (pipeline && !pipeline->archived) ArchivePipeline(transaction, *pipeline);
  }
}

}  // namespace

void SetPipelineParent(Transaction& transaction, PipelineId pipeline, JobId job, BuildId build) {
  transaction.Execute("update pipelines set parent_job_id = $2, parent_build_id = $3 where id = $1",
                      {pipeline, job, build});
}

void ArchiveChildren(Transaction& transaction, PipelineId parent, GoneJobs gone) {
  ArchiveAll(transaction,
             transaction.Query("select c.id from pipelines c join jobs j on j.id = c.parent_job_id "
                               "where j.pipeline_id = $1 and c.archived = 0 and "
                               "($2 = 1 or j.active = 0)",
                               {parent, gone == GoneJobs::kAll}));
}

void ArchiveLeftBehind(Transaction& transaction, JobId job, BuildId build) {
  ArchiveAll(transaction, transaction.Query("select id from pipelines where archived = 0 and "
                                            "parent_job_id = $1 and parent_build_id < $2",
                                            {job, build}));
}

}  // namespace pinion::store
