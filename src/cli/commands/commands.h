#pragma once

#include <string>
#include <vector>

#include "cli/command.h"

/// Every command's function; the table in commands.cc gives them their names.
namespace pinion::cli {

using Words = std::vector<std::string>;

#define PINION_COMMAND(name) int name(Context& context, const Command& command, const Words& words)
PINION_COMMAND(AbortBuild);
PINION_COMMAND(ActiveUsers);
PINION_COMMAND(ArchivePipeline);
PINION_COMMAND(Builds);
PINION_COMMAND(CheckResource);
PINION_COMMAND(CheckResourceType);
PINION_COMMAND(Checklist);
PINION_COMMAND(ClearResourceCache);
PINION_COMMAND(ClearTaskCache);
PINION_COMMAND(ClearVersions);
PINION_COMMAND(ClearWall);
PINION_COMMAND(Completion);
PINION_COMMAND(Containers);
PINION_COMMAND(Curl);
PINION_COMMAND(DeleteTarget);
PINION_COMMAND(DestroyPipeline);
PINION_COMMAND(DestroyTeam);
PINION_COMMAND(DisableResourceVersion);
PINION_COMMAND(EditTarget);
PINION_COMMAND(EnableResourceVersion);
PINION_COMMAND(Execute);
PINION_COMMAND(ExposePipeline);
PINION_COMMAND(FormatPipeline);
PINION_COMMAND(GetComponents);
PINION_COMMAND(GetPipeline);
PINION_COMMAND(GetTeam);
PINION_COMMAND(GetWall);
PINION_COMMAND(Health);
PINION_COMMAND(Help);
PINION_COMMAND(HidePipeline);
PINION_COMMAND(Hijack);
PINION_COMMAND(Jobs);
PINION_COMMAND(LandWorker);
PINION_COMMAND(Login);
PINION_COMMAND(Logout);
PINION_COMMAND(OrderInstancedPipelines);
PINION_COMMAND(OrderPipelines);
PINION_COMMAND(PauseComponent);
PINION_COMMAND(PauseJob);
PINION_COMMAND(PausePipeline);
PINION_COMMAND(PausedJobs);
PINION_COMMAND(PausedPipelines);
PINION_COMMAND(PinResource);
PINION_COMMAND(Pipelines);
PINION_COMMAND(PruneWorker);
PINION_COMMAND(RenamePipeline);
PINION_COMMAND(RenameTeam);
PINION_COMMAND(RerunBuild);
PINION_COMMAND(ResourceVersions);
PINION_COMMAND(Resources);
PINION_COMMAND(ScheduleJob);
PINION_COMMAND(SetPipeline);
PINION_COMMAND(SetTeam);
PINION_COMMAND(SetWall);
PINION_COMMAND(Status);
PINION_COMMAND(Sync);
PINION_COMMAND(Targets);
PINION_COMMAND(Teams);
PINION_COMMAND(TriggerJob);
PINION_COMMAND(UnpauseComponent);
PINION_COMMAND(UnpauseJob);
PINION_COMMAND(UnpausePipeline);
PINION_COMMAND(UnpinResource);
PINION_COMMAND(Userinfo);
PINION_COMMAND(ValidatePipeline);
PINION_COMMAND(Volumes);
PINION_COMMAND(Watch);
PINION_COMMAND(Workers);
#undef PINION_COMMAND

}  // namespace pinion::cli
