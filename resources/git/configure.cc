#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>

#include "base/encoding.h"
#include "base/files.h"
#include "base/text.h"
#include "git/git.h"

namespace pinion::resource {
namespace {

namespace fs = std::filesystem;

fs::path Home() {
  const char* home = std::getenv("HOME");
  return home && *home ? home : "/root";
}

/// The key goes into a file that ssh is told of: no agent is needed that would outlive this
/// process.
void ConfigureSsh(const Json& source) {
  const std::string key(source.StringAt("private_key"));
  if (key.empty()) return;
  if (!source.StringAt("private_key_passphrase").empty()) {
    throw Failure(ErrorKind::kInvalid,
                  "private_key_passphrase is not supported: give a key without one, kept in a "
                  "credential manager");
  }
  const fs::path folder = Home() / ".ssh";
  fs::create_directories(folder);
  fs::permissions(folder, fs::perms::owner_all);
  const fs::path key_file = folder / "git-resource-key";
  ValueOrThrow(WriteFile(key_file, key.ends_with('\n') ? key : key + "\n", 0600));
  std::string config = "StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\n";
  config += "IdentitiesOnly yes\nIdentityFile " + key_file.string() + "\n";
  if (const auto user = source.StringAt("private_key_user"); !user.empty()) {
    config += "User " + std::string(user) + "\n";
  }
  ValueOrThrow(WriteFile(folder / "config", config, 0600));
}

void ConfigurePasswords(const Json& source) {
  std::string netrc;
  if (const Json* credentials = source.Find("submodule_credentials");
      credentials && credentials->IsArray()) {
    for (const Json& entry : credentials->AsArray()) {
      const std::string host(entry.StringAt("host"));
      if (host.empty()) continue;
      netrc += "machine " + host + " login " + std::string(entry.StringAt("username")) +
               " password " + std::string(entry.StringAt("password")) + "\n";
    }
  }
  const std::string user(source.StringAt("username"));
  const std::string password(source.StringAt("password"));
  if (!user.empty() && !password.empty()) {
    netrc += "default login " + user + " password " + password + "\n";
  }
  if (!netrc.empty()) ValueOrThrow(WriteFile(Home() / ".netrc", netrc, 0600));
}

}  // namespace

void Configure(const Request& request) {
  const Json& source = request.source;
  RefuseUnknown(source, "source",
                {"uri",
                 "branch",
                 "private_key",
                 "private_key_user",
                 "private_key_passphrase",
                 "forward_agent",
                 "username",
                 "password",
                 "paths",
                 "ignore_paths",
                 "sparse_paths",
                 "skip_ssl_verification",
                 "tag_filter",
                 "tag_regex",
                 "tag_behaviour",
                 "fetch_tags",
                 "submodule_credentials",
                 "git_config",
                 "disable_ci_skip",
                 "commit_filter",
                 "version_depth",
                 "search_remote_refs",
                 "debug"});
  if (source.StringAt("uri").empty()) {
    throw Failure(ErrorKind::kInvalid, "source.uri is required and must not be empty");
  }
  ::setenv("HOME", Home().c_str(), 0);
  ::setenv("GIT_TERMINAL_PROMPT", "0", 1);  // nobody is there to answer
  ::setenv("GIT_LFS_SKIP_SMUDGE", "1", 0);
  if (source.BoolAt("skip_ssl_verification")) ::setenv("GIT_SSL_NO_VERIFY", "true", 1);
  ConfigureSsh(source);
  ConfigurePasswords(source);
  const Git git;
  // Repositories that other steps made belong to other users.
  git.Run({"config", "--global", "--add", "safe.directory", "*"});
  if (const Json* settings = source.Find("git_config"); settings && settings->IsArray()) {
    for (const Json& setting : settings->AsArray()) {
      git.Run({"config", "--global", std::string(setting.StringAt("name")),
               std::string(setting.StringAt("value"))});
    }
  }
}

namespace {

/// The commit's page at the well-known hosts; empty elsewhere.
std::string CommitUrl(std::string origin, const std::string& commit) {
  for (const std::string_view scheme : {"https://", "http://", "ssh://git@", "git@"}) {
    if (!origin.starts_with(scheme)) continue;
    std::string rest = origin.substr(scheme.size());
    const std::size_t split = rest.find_first_of(scheme == "git@" ? ":/" : "/");
    if (split == std::string::npos) return "";
    const std::string host = rest.substr(0, split);
    std::string path = rest.substr(split + 1);
    if (path.ends_with(".git")) path.resize(path.size() - 4);
    const std::string base = "https://" + host + "/" + path;
    if (host.contains("github") || host.contains("gogs")) return base + "/commit/" + commit;
    if (host.contains("gitlab")) return base + "/-/commit/" + commit;
    if (host.contains("bitbucket")) return base + "/commits/" + commit;
    return "";
  }
  return "";
}

}  // namespace

Json MetadataOf(const Git& git) {
  constexpr std::size_t kMessageBytesMax = 10'240;
  JsonArray metadata;
  const auto add = [&](std::string_view name, std::string value, std::string_view type = {}) {
    if (value.empty()) return;
    JsonObject field{{"name", name}, {"value", std::move(value)}};
    if (!type.empty()) field.Set("type", type);
    metadata.push_back(std::move(field));
  };
  const auto show = [&](std::string_view format) {
    return git.Run({"log", "-1", "--format=format:" + std::string(format)});
  };
  const std::string commit = git.Run({"rev-parse", "HEAD"});
  const std::string author = show("%an");
  const std::string author_date = show("%ai");
  add("commit", commit);
  add("author", author);
  add("author_date", author_date, "time");
  const std::string committer = show("%cn");
  const std::string committer_date = show("%ci");
  if (author == committer && author_date == committer_date) {
    add("committer", committer);
    add("committer_date", committer_date, "time");
  }
  const auto heads = git.Lines(
      {"for-each-ref", "--points-at", "HEAD", "--format=%(refname:lstrip=2)", "refs/heads"});
  add("branch", Join(heads, ","));
  add("tags", Join(git.Lines({"tag", "--points-at", "HEAD"}), ","));
  add("message", show("%B").substr(0, kMessageBytesMax), "message");
  add("url", CommitUrl(git.Try({"remote", "get-url", "origin"}).value_or(""), commit));
  return metadata;
}

}  // namespace pinion::resource
