// The mock resource: versions, files and images out of nothing, to try pipelines without the world.

#include <spawn.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "base/files.h"
#include "base/units.h"
#include "kit/resource.h"

namespace pinion::resource {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string_view> kSourceFields = {
    "mirror_self", "initial_version", "no_initial_version", "force_version", "metadata",
    "log",         "check_delay",     "check_failure",      "create_files"};
const std::vector<std::string_view> kInFields = {"mirror_self_via_params",
                                                 "create_files_via_params"};
const std::vector<std::string_view> kOutFields = {"version", "print_env", "file"};

/// Without a user namespace of its own the container's root is the host's.
bool IsPrivileged() {
  const std::string map = ValueOrThrow(ReadFile("/proc/self/uid_map"));
  std::istringstream lines(map);
  unsigned long inside = 0;
  unsigned long outside = 0;
  unsigned long count = 0;
  while (lines >> inside >> outside >> count) {
    if (inside == 0 && outside == 0) return true;
  }
  return false;
}

/// An image made by `in` says its version to the checks that run in it.
std::string InitialVersion(const Json& source) {
  const auto configured = source.StringAt("initial_version");
  if (!configured.empty()) return std::string(configured);
  const char* mirrored = std::getenv("MIRRORED_VERSION");
  return mirrored && *mirrored ? mirrored : "mock";
}

Json MakeVersion(std::string_view version, bool privileged) {
  JsonObject made{{"version", version}};
  if (privileged) made.Set("privileged", "true");
  return made;
}

Json Metadata(const Request& request) {
  const Json* metadata = request.source.Find("metadata");
  return metadata ? *metadata : Json(JsonArray());
}

void Wait(std::string_view text) {
  const auto delay = ParseDuration(text);
  if (!delay) throw Failure(Error(delay.error()).Context("check_delay"));
  const auto seconds = std::chrono::floor<std::chrono::seconds>(*delay);
  timespec left{.tv_sec = seconds.count(), .tv_nsec = (*delay - seconds).count()};
  while (nanosleep(&left, &left) != 0) {
  }
}

Json Check(const Request& request) {
  const Json& source = request.source;
  if (const auto delay = source.StringAt("check_delay"); !delay.empty()) Wait(delay);
  if (const auto failure = source.StringAt("check_failure"); !failure.empty()) {
    throw Failure(ErrorKind::kInvalid, "intentionally failing to check: " + std::string(failure));
  }
  JsonArray versions;
  if (const auto forced = source.StringAt("force_version"); !forced.empty()) {
    versions.push_back(MakeVersion(forced, false));
  } else if (!request.version.IsNull()) {
    versions.push_back(request.version);
  } else if (!source.BoolAt("no_initial_version")) {
    versions.push_back(MakeVersion(InitialVersion(source), false));
  }
  if (IsPrivileged()) {
    for (Json& version : versions)
      version.AsObject().Set("privileged", "true");
  }
  return versions;
}

void Copy(const fs::path& from, const fs::path& to) {
  const std::string source = from.string();
  const std::string target = to.string();
  const char* argv[] = {"cp", "-a", source.c_str(), target.c_str(), nullptr};
  pid_t child = 0;
  const int failed =
      posix_spawnp(&child, "cp", nullptr, nullptr, const_cast<char* const*>(argv), environ);
  if (failed != 0) throw Failure(SystemError("start cp", failed));
  int status = 0;
  waitpid(child, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    throw Failure(ErrorKind::kInternal, "copying " + source + " to " + target + " failed");
  }
}

/// This container's own files as an image, but for what the kernel or the container put there.
void MirrorSelf(const fs::path& destination, std::string_view version) {
  const fs::path rootfs = destination / "rootfs";
  fs::create_directories(rootfs);
  for (const fs::directory_entry& entry : fs::directory_iterator("/")) {
    const std::string name = entry.path().filename().string();
    if (name == "tmp" || name == "dev" || name == "proc" || name == "sys" || name == "scratch") {
      fs::create_directories(rootfs / name);
      if (name == "tmp") fs::permissions(rootfs / name, fs::perms(01777));
    } else {
      Copy(entry.path(), rootfs / name);
    }
  }
  const Json metadata =
      JsonObject{{"env", JsonArray{"MIRRORED_VERSION=" + std::string(version)}}, {"user", "root"}};
  ValueOrThrow(WriteFile(destination / "metadata.json", ToText(metadata) + "\n"));
}

void Replace(std::string& text, std::string_view what, std::string_view with) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += with.size()) {
    text.replace(at, what.size(), with);
  }
}

void CreateFiles(const fs::path& destination, const Json* files) {
  if (!files || !files->IsObject()) return;
  for (const auto& [name, content] : files->AsObject()) {
    std::string text = content.IsString() ? content.AsString() : ToText(content);
    // Pipelines that are set with ((vars)) cannot write them plainly.
    Replace(text, "START_VAR", "((");
    Replace(text, "END_VAR", "))");
    const fs::path path = destination / fs::path(name).relative_path();
    fs::create_directories(path.parent_path());
    ValueOrThrow(WriteFile(path, text));
  }
}

Json In(const Request& request) {
  RefuseUnknown(request.params, "params", kInFields);
  const fs::path destination = request.folder;
  const std::string version(request.version.StringAt("version"));
  const bool privileged = IsPrivileged();
  if (privileged) Say("fetching in a privileged container");
  ValueOrThrow(WriteFile(destination / "privileged", privileged ? "true\n" : "false\n"));
  Say("fetching version: " + version);
  ValueOrThrow(WriteFile(destination / "version", version + "\n", 0755));
  if (request.source.BoolAt("mirror_self") || request.params.BoolAt("mirror_self_via_params")) {
    Say("mirroring self image");
    MirrorSelf(destination, version);
  }
  CreateFiles(destination, request.source.Find("create_files"));
  CreateFiles(destination, request.params.Find("create_files_via_params"));
  return JsonObject{{"version", request.version}, {"metadata", Metadata(request)}};
}

Json Out(const Request& request) {
  RefuseUnknown(request.params, "params", kOutFields);
  std::string version(request.params.StringAt("version"));
  const std::string file(request.params.StringAt("file"));
  if (version.empty() && file.empty()) throw Failure(ErrorKind::kInvalid, "no version specified");
  const bool privileged = IsPrivileged();
  if (version.empty()) version = ValueOrThrow(ReadFile(fs::path(request.folder) / file));
  if (privileged) Say("pushing in a privileged container");
  Say("pushing version: " + version);
  if (request.params.BoolAt("print_env")) {
    for (char** entry = environ; *entry; ++entry)
      Say(std::string("env: ") + *entry);
  }
  return JsonObject{{"version", MakeVersion(version, privileged)}, {"metadata", Metadata(request)}};
}

Json Run(const Request& request) {
  RefuseUnknown(request.source, "source", kSourceFields);
  if (const auto log = request.source.StringAt("log"); !log.empty()) Say(log);
  if (request.action == "check") return Check(request);
  return request.action == "in" ? In(request) : Out(request);
}

}  // namespace
}  // namespace pinion::resource

int main(int argc, char** argv) {
  return pinion::resource::Main(argc, argv, pinion::resource::Run);
}
