#include <re2/re2.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/text.h"
#include "git/git.h"

namespace pinion::resource {
namespace {

struct Filters {
  std::string branch;
  std::vector<std::string> paths;
  std::vector<std::string> ignore_paths;
  std::string tag_filter;
  std::string tag_regex;
  bool ancestors = false;
  bool skip_ci = true;
  std::vector<std::string> include;
  std::vector<std::string> exclude;
  bool include_all = false;
  bool exclude_all = false;
  std::size_t depth = 1;

  bool tags() const { return !tag_filter.empty() || !tag_regex.empty(); }
  bool by_path() const { return !paths.empty() || !ignore_paths.empty(); }
};

Filters ReadFilters(const Json& source) {
  Filters filters;
  filters.branch = Trim(source.StringAt("branch"));
  filters.paths = Texts(source, "paths");
  filters.ignore_paths = Texts(source, "ignore_paths");
  filters.tag_filter = Trim(source.StringAt("tag_filter"));
  filters.tag_regex = Trim(source.StringAt("tag_regex"));
  if (!filters.tag_filter.empty() && !filters.tag_regex.empty()) {
    throw Failure(ErrorKind::kInvalid, "give tag_filter or tag_regex, not both");
  }
  const auto behaviour = source.StringAt("tag_behaviour", "match_tagged");
  if (behaviour != "match_tagged" && behaviour != "match_tag_ancestors") {
    throw Failure(ErrorKind::kInvalid, "tag_behaviour must be match_tagged or match_tag_ancestors");
  }
  filters.ancestors = behaviour == "match_tag_ancestors";
  filters.skip_ci = !source.BoolAt("disable_ci_skip");
  if (const Json* commits = source.Find("commit_filter")) {
    filters.include = Texts(*commits, "include");
    filters.exclude = Texts(*commits, "exclude");
    filters.include_all = commits->BoolAt("include_all_match");
    filters.exclude_all = commits->BoolAt("exclude_all_match");
  }
  const std::int64_t depth = source.IntegerAt("version_depth", 1);
  if (depth <= 0) throw Failure(ErrorKind::kInvalid, "version_depth must be at least 1");
  filters.depth = static_cast<std::size_t>(depth);
  return filters;
}

Json RefVersion(const std::string& ref) {
  return JsonObject{{"ref", ref}};
}

/// Newest first: what passes the filters, in `range` ("" for all).
std::vector<std::string> Commits(const Git& git, const Filters& filters, const std::string& range) {
  std::vector<std::string> list = {"rev-list", "--first-parent", range.empty() ? "HEAD" : range};
  if (filters.by_path()) {
    list.push_back("--");
    if (filters.paths.empty()) list.push_back(".");
    list.insert(list.end(), filters.paths.begin(), filters.paths.end());
    for (const std::string& path : filters.ignore_paths)
      list.push_back(":!" + path);
  }
  std::vector<std::string> commits = git.Lines(list);
  const auto narrow = [&](const std::vector<std::string>& patterns, bool invert, bool all) {
    if (patterns.empty() || commits.empty()) return;
    std::vector<std::string> command = {"rev-list", "--stdin", "--no-walk=unsorted"};
    if (invert) command.push_back("--invert-grep");
    if (all) command.push_back("--all-match");
    for (const std::string& pattern : patterns)
      command.push_back("--grep=" + pattern);
    commits = git.Lines(command, Join(commits, "\n") + "\n");
  };
  narrow(filters.include, false, filters.include_all);
  narrow(filters.exclude, true, filters.exclude_all);
  if (filters.skip_ci) narrow({"\\[ci\\sskip\\]", "\\[skip\\sci\\]"}, true, false);
  return commits;
}

/// Names of the tags that match, oldest first.
std::vector<std::string> Tags(const Git& git, const Filters& filters) {
  std::vector<std::string> command = {"tag", "--sort=creatordate"};
  if (!filters.branch.empty()) {
    command.push_back("--merged");
    command.push_back(filters.branch);
  }
  if (!filters.tag_filter.empty()) {
    command.push_back("--list");
    command.push_back(filters.tag_filter);
  }
  std::vector<std::string> tags = git.Lines(command);
  if (!filters.tag_regex.empty()) {
    const RE2 pattern(filters.tag_regex, RE2::Quiet);
    if (!pattern.ok()) {
      throw Failure(ErrorKind::kInvalid, "tag_regex: " + pattern.error());
    }
    std::erase_if(tags, [&](const std::string& tag) { return !RE2::FullMatch(tag, pattern); });
  }
  return tags;
}

JsonArray TaggedVersions(const Git& git, const Filters& filters, const std::string& ref) {
  std::vector<std::string> tags = Tags(git, filters);
  const auto known = std::ranges::find(tags, ref);
  if (known != tags.end()) tags.erase(tags.begin(), known);
  const std::vector<std::string> commits = Commits(git, filters, "--all");
  const std::set<std::string> passing(commits.begin(), commits.end());
  JsonArray versions;
  if (filters.ancestors) {
    std::set<std::string> reachable;
    for (const std::string& tag : tags) {
      for (std::string& commit : git.Lines({"rev-list", tag}))
        reachable.insert(std::move(commit));
    }
    for (auto commit = commits.rbegin(); commit != commits.rend(); ++commit) {
      if (reachable.contains(*commit)) versions.push_back(RefVersion(*commit));
    }
  } else {
    for (const std::string& tag : tags) {
      const std::string commit = git.Run({"rev-list", "-n", "1", tag});
      if (passing.contains(commit)) {
        versions.push_back(JsonObject{{"ref", tag}, {"commit", commit}});
      }
    }
  }
  return versions;
}

void KeepLast(JsonArray& versions, std::size_t count) {
  if (versions.size() > count) {
    versions.erase(versions.begin(), versions.end() - static_cast<std::ptrdiff_t>(count));
  }
}

}  // namespace

Json CheckGit(const Request& request) {
  const Filters filters = ReadFilters(request.source);
  const std::string uri(Trim(request.source.StringAt("uri")));
  const std::string ref(request.version.StringAt("ref"));

  // Where only the tip matters, asking for it is enough.
  const bool tip_only = !filters.skip_ci && filters.depth == 1 && !filters.by_path() &&
                        !filters.tags() && filters.include.empty() && filters.exclude.empty();
  if (tip_only) {
    const std::string wanted = filters.branch.empty() ? "HEAD" : "refs/heads/" + filters.branch;
    const auto lines = Git().Lines({"ls-remote", uri, wanted});
    if (lines.empty()) {
      throw Failure(ErrorKind::kNotFound, "the remote has no branch '" + filters.branch + "'");
    }
    const std::string commit = lines.front().substr(0, lines.front().find('\t'));
    if (ref.empty() || ref == commit) return JsonArray{RefVersion(commit)};
  }

  // Kept between checks in the same container.
  const std::string cache = "/tmp/git-resource-repo-cache";
  const Git git(cache);
  if (std::filesystem::exists(cache)) {
    if (filters.tags()) {
      git.Run({"fetch", "origin", "refs/heads/*:refs/heads/*", "--tags", "-f"});
    } else {
      std::vector<std::string> fetch = {"fetch", "origin", "--no-tags", "-f"};
      if (!filters.branch.empty()) fetch.push_back(filters.branch);
      git.Run(fetch);
      git.Run({"reset", "--soft", "FETCH_HEAD"});
    }
  } else {
    // Commits are all that is looked at; trees only where paths decide.
    std::vector<std::string> clone = {"clone", "--bare", "--progress",
                                      filters.by_path() ? "--filter=blob:none" : "--filter=tree:0"};
    clone.push_back(filters.tags() ? "--tags" : "--no-tags");
    if (!filters.tags()) clone.push_back("--single-branch");
    if (!filters.branch.empty() && !filters.tags()) {
      clone.push_back("--branch");
      clone.push_back(filters.branch);
    }
    clone.push_back("--");
    clone.push_back(uri);
    clone.push_back(cache);
    Git().Run(clone);
  }

  JsonArray versions;
  if (filters.tags()) {
    versions = TaggedVersions(git, filters, ref);
    if (ref.empty()) KeepLast(versions, filters.depth);
    return versions;
  }
  const bool known = !ref.empty() && git.Try({"cat-file", "-e", ref + "^{commit}"}).has_value();
  std::string range;
  if (known) {
    // From the known commit on, itself included; the first commit has nothing before it.
    range = git.Try({"rev-parse", "--verify", "--quiet", ref + "~1"}) ? ref + "~1..HEAD" : "HEAD";
  }
  const std::vector<std::string> commits = Commits(git, filters, range);
  for (auto commit = commits.rbegin(); commit != commits.rend(); ++commit) {
    versions.push_back(RefVersion(*commit));
  }
  if (!known) KeepLast(versions, filters.depth);
  return versions;
}

}  // namespace pinion::resource
