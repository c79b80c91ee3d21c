#include <cstdio>
#include <filesystem>

#include "base/files.h"
#include "base/text.h"
#include "git/git.h"

namespace pinion::resource {
namespace {

constexpr int kDeepenTries = 12;

void Write(const Git& git, std::string_view name, const std::string& content) {
  ValueOrThrow(WriteFile(std::filesystem::path(git.folder()) / ".git" / name, content));
}

/// The short ref as the template says; its one "%s" stands for seven digits.
std::string ShortRef(const std::string& ref, std::string format) {
  const std::size_t at = format.find("%s");
  if (at == std::string::npos) return format;
  return format.replace(at, 2, ref.substr(0, 7));
}

/// A shallow clone may not reach back to the commit: it is deepened until it does.
void CheckOutShallow(const Git& git, const std::string& ref, std::int64_t depth) {
  for (int attempt = 0; attempt < kDeepenTries; ++attempt) {
    if (git.Try({"checkout", "-q", "--force", ref})) return;
    Say("could not find " + ref + " in a clone of depth " + std::to_string(depth) +
        ": fetching more");
    depth *= 2;
    git.Run({"fetch", "--depth", std::to_string(depth), "origin"});
  }
  git.Run({"fetch", "--unshallow", "origin"});
  git.Run({"checkout", "-q", "--force", ref});
}

void UpdateSubmodules(const Git& git, const Json& params, std::int64_t depth) {
  const Json* wanted = params.Find("submodules");
  if (wanted && wanted->IsString() && wanted->AsString() == "none") return;
  if (!std::filesystem::exists(std::filesystem::path(git.folder()) / ".gitmodules")) return;
  git.Run({"submodule", "sync"});
  std::vector<std::string> command = {"submodule", "update", "--init"};
  if (params.BoolAt("submodule_recursive", true)) command.push_back("--recursive");
  if (params.BoolAt("submodule_remote")) command.push_back("--remote");
  if (depth > 0) {
    command.push_back("--depth");
    command.push_back(std::to_string(depth));
  }
  if (wanted && wanted->IsArray()) {
    command.push_back("--");
    for (const std::string& path : Texts(params, "submodules"))
      command.push_back(path);
  }
  git.Run(command);
}

void WriteFacts(const Git& git, const Json& params, const std::string& ref, const Json& metadata) {
  Write(git, "ref", ref + "\n");
  Write(git, "short_ref", ShortRef(ref, std::string(params.StringAt("short_ref_format", "%s"))));
  Write(git, "committer", git.Run({"log", "-1", "--format=format:%ae"}));
  Write(git, "committer_name", git.Run({"log", "-1", "--format=format:%an"}));
  Write(git, "commit_message", git.Run({"log", "-1", "--format=format:%B"}) + "\n");
  const std::string format(params.StringAt("timestamp_format", "iso8601"));
  Write(git, "commit_timestamp", git.Run({"log", "-1", "--format=%cd", "--date=" + format}) + "\n");
  std::vector<std::string> describe = {"describe"};
  for (const std::string_view option :
       Split(params.StringAt("describe_ref_options", "--always --dirty --broken"), ' ')) {
    if (!option.empty()) describe.emplace_back(option);
  }
  Write(git, "describe_ref", git.Try(describe).value_or("") + "\n");
  Write(git, "metadata.json", ToPrettyText(metadata) + "\n");
  for (const std::string_view name :
       {"commit", "author", "author_date", "branch", "tags", "url", "committer_date"}) {
    std::string value;
    for (const Json& field : metadata.AsArray()) {
      if (field.StringAt("name") == name) value = field.StringAt("value");
    }
    Write(git, name, value + "\n");
  }
}

}  // namespace

Json InGit(const Request& request) {
  const Json& source = request.source;
  const Json& params = request.params;
  RefuseUnknown(params, "params",
                {"depth", "fetch", "submodules", "submodule_recursive", "submodule_remote",
                 "fetch_tags", "disable_git_lfs", "clean_tags", "short_ref_format",
                 "timestamp_format", "describe_ref_options", "all_branches", "debug"});
  const std::string uri(Trim(source.StringAt("uri")));
  const std::string ref(request.version.StringAt("ref", "HEAD"));
  const std::string overridden(request.version.StringAt("branch"));
  const std::string branch =
      overridden.empty() ? std::string(source.StringAt("branch")) : overridden;
  const std::int64_t depth = params.IntegerAt("depth");

  std::vector<std::string> clone = {"clone", "--progress"};
  if (!params.BoolAt("all_branches")) clone.push_back("--single-branch");
  if (depth > 0) {
    clone.push_back("--depth");
    clone.push_back(std::to_string(depth));
  }
  if (!branch.empty()) {
    clone.push_back("--branch");
    clone.push_back(branch);
  }
  const Json* fetch_tags =
      params.Find("fetch_tags") ? params.Find("fetch_tags") : source.Find("fetch_tags");
  const bool said = fetch_tags && fetch_tags->IsBool();
  const bool tags =
      said ? fetch_tags->AsBool()
           : !source.StringAt("tag_filter").empty() || !source.StringAt("tag_regex").empty();
  if (said && !tags) clone.push_back("--no-tags");
  if (tags) clone.push_back("--tags");
  const std::vector<std::string> sparse = Texts(source, "sparse_paths");
  if (!sparse.empty()) clone.push_back("--no-checkout");
  clone.insert(clone.end(), {"--", uri, request.folder});
  Git().Run(clone);

  const Git git(request.folder);
  if (!sparse.empty()) {
    std::vector<std::string> command = {"sparse-checkout", "set", "--no-cone", "--"};
    command.insert(command.end(), sparse.begin(), sparse.end());
    git.Run(command);
  }
  git.Run({"fetch", "origin", "refs/notes/*:refs/notes/*"});
  if (depth > 0) {
    CheckOutShallow(git, ref, depth);
  } else {
    if (source.BoolAt("search_remote_refs") && !git.Try({"cat-file", "-e", ref + "^{commit}"})) {
      git.Try({"fetch", "origin", ref});
    }
    git.Run({"checkout", "-f", "-q", ref});
  }
  Say(git.Run({"log", "-1", "--oneline"}));
  git.Run({"clean", "--force", "--force", "-d"});
  UpdateSubmodules(git, params, depth);
  for (const std::string& extra : Texts(params, "fetch")) {
    git.Run({"fetch", "origin", extra});
    if (!git.Try({"show-ref", "--verify", "--quiet", "refs/heads/" + extra})) {
      git.Run({"branch", extra, "FETCH_HEAD"});
    }
  }
  const std::string returned = ref == "HEAD" ? git.Run({"rev-parse", "HEAD"}) : ref;
  const Json metadata = MetadataOf(git);
  WriteFacts(git, params, returned, metadata);
  if (params.BoolAt("clean_tags")) {
    for (const std::string& tag : git.Lines({"tag"}))
      git.Run({"tag", "-d", tag});
  }
  const Json version =
      request.version.IsNull() ? Json(JsonObject{{"ref", returned}}) : request.version;
  return JsonObject{{"version", version}, {"metadata", metadata}};
}

}  // namespace pinion::resource
