#include <filesystem>

#include "base/files.h"
#include "base/text.h"
#include "git/git.h"

namespace pinion::resource {
namespace {

namespace fs = std::filesystem;

constexpr int kPushTriesMax = 100;

struct Push {
  std::string uri;
  std::string branch;
  std::string refs_prefix;
  std::string tag;
  std::string annotation_file;
  std::string notes_file;
  std::vector<std::string> options;
  bool force = false;
};

void Tag(const Git& git, const Push& push) {
  if (push.tag.empty()) return;
  std::vector<std::string> command = {"tag", "-f", push.tag};
  if (!push.annotation_file.empty()) {
    command.insert(command.end(), {"-a", "-F", push.annotation_file});
  }
  git.Run(command);
}

std::vector<std::string> PushCommand(const Push& push, const std::string& refspec) {
  std::vector<std::string> command = {"push", "--porcelain", "--tags"};
  if (push.force) command.push_back("--force");
  for (const std::string& option : push.options) {
    command.insert(command.end(), {"--push-option", option});
  }
  command.push_back("push-target");
  if (!refspec.empty()) command.push_back(refspec);
  return command;
}

void PushNotes(const Git& git, const Push& push) {
  if (push.notes_file.empty()) return;
  git.Run({"notes", "add", "-f", "-F", push.notes_file});
  git.Run({"push", "push-target", "refs/notes/*"});
}

/// True when it went through; false when somebody else pushed first, so that it is worth trying
/// again.
bool TryPush(const Git& git, const Push& push) {
  Tag(git, push);
  if (git.Try(PushCommand(push, "HEAD:" + push.refs_prefix + "/" + push.branch))) {
    PushNotes(git, push);
    return true;
  }
  // Rejected because the branch moved? Then the remote has a commit that HEAD does not.
  git.Run({"fetch", "push-target", push.branch});
  if (git.Try({"merge-base", "--is-ancestor", "FETCH_HEAD", "HEAD"})) {
    throw Failure(ErrorKind::kInternal, "the push was refused, see above");
  }
  return false;
}

fs::path Existing(const fs::path& folder, std::string_view file, std::string_view what) {
  const fs::path path = folder / file;
  if (!fs::is_regular_file(path)) {
    throw Failure(ErrorKind::kNotFound,
                  std::string(what) + " '" + std::string(file) + "' does not exist");
  }
  return path;
}

}  // namespace

Json OutGit(const Request& request) {
  const Json& params = request.params;
  RefuseUnknown(params, "params",
                {"repository", "rebase", "rebase_strategy", "rebase_strategy_option", "merge",
                 "returning", "tag", "tag_prefix", "only_tag", "force", "annotate", "notes",
                 "branch", "refs_prefix", "push_options", "debug"});
  const fs::path sources = request.folder;
  const std::string overridden(params.StringAt("branch"));
  const bool only_tag = params.BoolAt("only_tag");
  const bool rebase = params.BoolAt("rebase");
  const bool merge = params.BoolAt("merge");
  Push push{
      .uri = std::string(Trim(request.source.StringAt("uri"))),
      .branch = overridden.empty() ? std::string(request.source.StringAt("branch")) : overridden,
      .refs_prefix = std::string(params.StringAt("refs_prefix", "refs/heads")),
      .options = Texts(params, "push_options"),
      .force = params.BoolAt("force")};
  const std::string repository(params.StringAt("repository"));
  if (repository.empty()) throw Failure(ErrorKind::kInvalid, "params.repository is required");
  if (push.branch.empty() && !only_tag) {
    throw Failure(ErrorKind::kInvalid, "no branch to push to: set source.branch or params.branch");
  }
  if (rebase && merge) throw Failure(ErrorKind::kInvalid, "set rebase or merge, not both");
  if (const auto file = params.StringAt("tag"); !file.empty()) {
    const std::string name = ValueOrThrow(ReadFile(Existing(sources, file, "tag file"), 4096));
    push.tag = std::string(params.StringAt("tag_prefix")) + std::string(Trim(name));
  }
  if (const auto file = params.StringAt("annotate"); !file.empty()) {
    push.annotation_file = Existing(sources, file, "annotation file").string();
  }
  if (const auto file = params.StringAt("notes"); !file.empty()) {
    push.notes_file = Existing(sources, file, "notes file").string();
  }

  const Git git((sources / repository).string());
  git.Try({"remote", "remove", "push-target"});
  git.Run({"remote", "add", "push-target", push.uri});
  const std::string commit = git.Run({"rev-parse", "HEAD"});
  if (only_tag) {
    Tag(git, push);
    git.Run(PushCommand(push, ""));
  } else if (rebase || merge) {
    std::vector<std::string> pull = {"pull", "--no-edit"};
    if (rebase) {
      pull = {"pull", "--rebase=merges"};
      if (const auto strategy = params.StringAt("rebase_strategy"); !strategy.empty()) {
        pull.push_back("--strategy=" + std::string(strategy));
      }
      for (const std::string& option : Texts(params, "rebase_strategy_option")) {
        pull.push_back("-X" + option);
      }
    } else {
      pull.push_back("--no-rebase");
    }
    pull.insert(pull.end(), {"push-target", push.branch});
    for (int attempt = 0;; ++attempt) {
      if (attempt == kPushTriesMax) {
        throw Failure(ErrorKind::kUnavailable, "the branch moves faster than this push can follow");
      }
      if (merge) git.Run({"reset", "--hard", commit});
      git.Run(pull);
      if (TryPush(git, push)) break;
      Say(rebase ? "rebasing and trying again..." : "merging and trying again...");
    }
  } else {
    Tag(git, push);
    git.Run(PushCommand(push, "HEAD:" + push.refs_prefix + "/" + push.branch));
    PushNotes(git, push);
  }
  const bool unmerged = merge && params.StringAt("returning") == "unmerged";
  JsonObject version;
  if (!overridden.empty()) version.Set("branch", overridden);
  version.Set("ref", unmerged ? commit : git.Run({"rev-parse", "HEAD"}));
  return JsonObject{{"version", std::move(version)}, {"metadata", MetadataOf(git)}};
}

}  // namespace pinion::resource
