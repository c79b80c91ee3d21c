#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kit/resource.h"

namespace pinion::resource {

/// Runs git as a process, never through a shell. Its messages go to standard error.
class Git {
 public:
  explicit Git(std::string folder = "/") : folder_(std::move(folder)) {}

  /// What it printed, without the last line feed; a non-zero exit status is a Failure that names
  /// the command.
  std::string Run(const std::vector<std::string>& arguments, std::string_view input = {}) const;
  /// Nothing if it exits with another status than 0.
  std::optional<std::string> Try(const std::vector<std::string>& arguments,
                                 std::string_view input = {}) const;
  /// The lines that it printed.
  std::vector<std::string> Lines(const std::vector<std::string>& arguments,
                                 std::string_view input = {}) const;
  const std::string& folder() const { return folder_; }

 private:
  int Execute(const std::vector<std::string>& arguments, std::string_view input,
              std::string& output) const;

  std::string folder_;
};

/// A list of texts in the source or params; a single text counts as one.
std::vector<std::string> Texts(const Json& object, std::string_view name);

/// Keys, passwords, proxies and git's configuration as the source asks, into this container's home.
void Configure(const Request& request);
/// What people want to know about HEAD: commit, author, branch, tags, message, …
Json MetadataOf(const Git& git);

Json CheckGit(const Request& request);
Json InGit(const Request& request);
Json OutGit(const Request& request);

}  // namespace pinion::resource
