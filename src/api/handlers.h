#pragma once

#include "api/route.h"

/// The handlers of the route table, one for each action; each lies in the file of its noun.
namespace pinion::api {

Task<Answer> AbortBuild(Call& call);
Task<Answer> ArchivePipeline(Call& call);
Task<Answer> BuildEvents(Call& call);
Task<Answer> BuildResources(Call& call);
Task<Answer> CreateBuild(Call& call);
Task<Answer> CreateJobBuild(Call& call);
Task<Answer> CreatePipelineBuild(Call& call);
Task<Answer> DeletePipeline(Call& call);
Task<Answer> DestroyTeam(Call& call);
Task<Answer> ExposePipeline(Call& call);
Task<Answer> FlySuccess(Call& call);
Task<Answer> GetBuild(Call& call);
Task<Answer> GetBuildPlan(Call& call);
Task<Answer> GetBuildPreparation(Call& call);
Task<Answer> GetInfo(Call& call);
Task<Answer> GetInfoCreds(Call& call);
Task<Answer> GetJob(Call& call);
Task<Answer> GetJobBuild(Call& call);
Task<Answer> GetLogLevel(Call& call);
Task<Answer> GetPipeline(Call& call);
Task<Answer> GetTeam(Call& call);
Task<Answer> GetUser(Call& call);
Task<Answer> HidePipeline(Call& call);
Task<Answer> IssueToken(Call& call);
Task<Answer> LegacyLogin(Call& call);
Task<Answer> LegacyLogout(Call& call);
Task<Answer> ListAllJobs(Call& call);
Task<Answer> ListAllPipelines(Call& call);
Task<Answer> ListBuildArtifacts(Call& call);
Task<Answer> ListBuilds(Call& call);
Task<Answer> ListJobBuilds(Call& call);
Task<Answer> ListJobInputs(Call& call);
Task<Answer> ListJobs(Call& call);
Task<Answer> ListPipelineBuilds(Call& call);
Task<Answer> ListPipelines(Call& call);
Task<Answer> ListTeamBuilds(Call& call);
Task<Answer> ListTeams(Call& call);
Task<Answer> LoginForm(Call& call);
Task<Answer> OrderPipelines(Call& call);
Task<Answer> OrderPipelinesWithinGroup(Call& call);
Task<Answer> PauseJob(Call& call);
Task<Answer> PausePipeline(Call& call);
Task<Answer> RenamePipeline(Call& call);
Task<Answer> RenameTeam(Call& call);
Task<Answer> RerunJobBuild(Call& call);
Task<Answer> Robots(Call& call);
Task<Answer> ScheduleJob(Call& call);
Task<Answer> SetBuildComment(Call& call);
Task<Answer> SetLogLevel(Call& call);
Task<Answer> SetTeam(Call& call);
Task<Answer> SkyLogin(Call& call);
Task<Answer> SkyLogout(Call& call);
Task<Answer> SubmitLogin(Call& call);
Task<Answer> UnpauseJob(Call& call);
Task<Answer> UnpausePipeline(Call& call);
Task<Answer> UserInfo(Call& call);

}  // namespace pinion::api
