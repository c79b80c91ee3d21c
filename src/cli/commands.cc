#include "cli/commands/commands.h"

#include <algorithm>
#include <array>

#include "base/options.h"
#include "base/text.h"

namespace pinion::cli {
namespace {

constexpr std::array<Command, 68> kCommands{{
    {"help", "", "Show this list of commands", Help},
    {"targets", "ts", "List the saved targets", Targets},
    {"delete-target", "dtg", "Forget a target, or all of them", DeleteTarget},
    {"edit-target", "etg", "Change the name, URL or team of a target", EditTarget},
    {"login", "l", "Log in to a server and save it as a target", Login},
    {"logout", "o", "Give back the token of a target, or of all", Logout},
    {"status", "", "Tell whether the target's token is good", Status},
    {"health", "", "Show how the cluster is doing", Health},
    {"sync", "s", "Bring this client to the server's version", Sync},
    {"active-users", "au", "List users by their last login", ActiveUsers},
    {"userinfo", "", "Show who is logged in, with their roles", Userinfo},
    {"teams", "t", "List the teams", Teams},
    {"get-team", "gt", "Show who belongs to a team", GetTeam},
    {"set-team", "st", "Create a team or change who belongs to it", SetTeam},
    {"rename-team", "rt", "Rename a team", RenameTeam},
    {"destroy-team", "dt", "Delete a team with all of its data", DestroyTeam},
    {"checklist", "cl", "Print a Checkfile of a pipeline", Checklist},
    {"execute", "e", "Run a task once, with files of this machine", Execute},
    {"watch", "w", "Show the output of a build as it comes", Watch},
    {"containers", "cs", "List the team's containers", Containers},
    {"hijack", "intercept,i", "Run a command in a build's container", Hijack},
    {"jobs", "js", "List the jobs of a pipeline", Jobs},
    {"paused-jobs", "pjs", "List the paused jobs of a pipeline", PausedJobs},
    {"pause-job", "pj", "Pause a job", PauseJob},
    {"unpause-job", "uj", "Let a job go on", UnpauseJob},
    {"schedule-job", "sj", "Ask the scheduler to look at a job", ScheduleJob},
    {"pipelines", "ps", "List pipelines", Pipelines},
    {"paused-pipelines", "pps", "List paused pipelines", PausedPipelines},
    {"destroy-pipeline", "dp", "Delete a pipeline with its history", DestroyPipeline},
    {"get-pipeline", "gp", "Print a pipeline's configuration", GetPipeline},
    {"set-pipeline", "sp", "Create a pipeline or change its configuration", SetPipeline},
    {"pause-pipeline", "pp", "Pause a pipeline, or all of the team", PausePipeline},
    {"archive-pipeline", "ap", "Archive a pipeline, or all of the team", ArchivePipeline},
    {"unpause-pipeline", "up", "Let a pipeline go on, or all of the team", UnpausePipeline},
    {"expose-pipeline", "ep", "Let everybody see a pipeline", ExposePipeline},
    {"hide-pipeline", "hp", "Let only the team see a pipeline", HidePipeline},
    {"rename-pipeline", "rp", "Rename a pipeline or a group of instances", RenamePipeline},
    {"validate-pipeline", "vp", "Check a pipeline's configuration", ValidatePipeline},
    {"format-pipeline", "fp", "Bring a configuration into its normal form", FormatPipeline},
    {"order-pipelines", "op", "Put pipelines in order", OrderPipelines},
    {"order-instanced-pipelines", "oip", "Put the instances of a group in order",
     OrderInstancedPipelines},
    {"resources", "rs", "List the resources of a pipeline", Resources},
    {"resource-versions", "rvs", "List the versions of a resource", ResourceVersions},
    {"check-resource", "cr", "Look for new versions of a resource", CheckResource},
    {"pin-resource", "pr", "Pin a resource to a version", PinResource},
    {"unpin-resource", "ur", "Take the pin off a resource", UnpinResource},
    {"enable-resource-version", "erv", "Enable a version of a resource", EnableResourceVersion},
    {"disable-resource-version", "drv", "Disable a version of a resource", DisableResourceVersion},
    {"clear-resource-cache", "crc", "Drop what gets of a resource have cached", ClearResourceCache},
    {"clear-versions", "cv", "Drop all versions of a resource or resource type", ClearVersions},
    {"check-resource-type", "crt", "Look for new versions of a resource type", CheckResourceType},
    {"clear-task-cache", "ctc", "Drop the caches of a task", ClearTaskCache},
    {"builds", "bs", "List builds", Builds},
    {"abort-build", "ab", "Abort a build", AbortBuild},
    {"rerun-build", "rb", "Run a build again with the same inputs", RerunBuild},
    {"trigger-job", "tj", "Start a build of a job", TriggerJob},
    {"volumes", "vs", "List the team's volumes", Volumes},
    {"workers", "ws", "List the workers", Workers},
    {"land-worker", "lw", "Let a worker finish its work and stop", LandWorker},
    {"prune-worker", "pw", "Forget workers that are gone", PruneWorker},
    {"curl", "c", "Call the API with curl and the target's token", Curl},
    {"get-wall", "gw", "Print the message on the wall", GetWall},
    {"set-wall", "sw", "Write a message on the wall", SetWall},
    {"clear-wall", "cw", "Wipe the message off the wall", ClearWall},
    {"get-components", "gc", "List the server's components", GetComponents},
    {"pause-component", "pc", "Pause components of the server", PauseComponent},
    {"unpause-component", "uc", "Let components of the server go on", UnpauseComponent},
    {"completion", "", "Print a shell's completion script", Completion},
}};

}  // namespace

std::span<const Command> Commands() {
  return kCommands;
}

const Command* FindCommand(std::string_view name) {
  for (const Command& command : kCommands) {
    if (command.name == name) return &command;
    for (const std::string_view alias : Split(command.alias, ',')) {
      if (!alias.empty() && alias == name) return &command;
    }
  }
  return nullptr;
}

std::string Overview(const Context& context) {
  std::string text = "Usage: " + context.program_name + " [-t TARGET] COMMAND [OPTIONS]\n\n";
  text += "Options of all commands:\n";
  text +=
      "  -t, --target=NAME             saved target to talk to\n"
      "  -v, --version                 print the client's version\n"
      "      --verbose                 print requests and answers\n"
      "      --print-table-headers     print headers also when the output is no terminal\n"
      "  -h, --help                    show help, also of a command\n\n";
  text += "Commands:\n";
  for (const Command& command : kCommands) {
    std::string line = "  " + std::string(command.name);
    line.resize(std::max<std::size_t>(line.size() + 2, 30), ' ');
    line += command.help;
    if (!command.alias.empty()) line += " (" + std::string(command.alias) + ")";
    text += line + "\n";
  }
  return text;
}

}  // namespace pinion::cli
