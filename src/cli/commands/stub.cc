#include "cli/commands/commands.h"
#include "cli/errors.h"
namespace pinion::cli {
int ActiveUsers(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int ArchivePipeline(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int CheckResource(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int CheckResourceType(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int Checklist(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int ClearResourceCache(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int ClearVersions(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int ClearWall(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int Completion(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int Containers(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int Curl(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int DestroyPipeline(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int DestroyTeam(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int DisableResourceVersion(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int EnableResourceVersion(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int Execute(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int ExposePipeline(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int FormatPipeline(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int GetComponents(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int GetPipeline(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int GetTeam(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int GetWall(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int Health(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int HidePipeline(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int Hijack(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int LandWorker(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int OrderInstancedPipelines(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int OrderPipelines(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int PauseComponent(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int PausePipeline(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int PinResource(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int PruneWorker(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int RenamePipeline(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int RenameTeam(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int ResourceVersions(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int Resources(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int SetTeam(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int SetWall(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int Sync(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int Teams(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int UnpauseComponent(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int UnpausePipeline(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int UnpinResource(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int Userinfo(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int ValidatePipeline(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int Volumes(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int Workers(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
}  // namespace pinion::cli
