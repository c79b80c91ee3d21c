#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace pinion::pipeline {

/// A place in a document; line and column count from 1, and are 0 when there is no place.
struct Position {
  int line = 0;
  int column = 0;
  explicit operator bool() const { return line != 0; }
  friend bool operator==(const Position&, const Position&) = default;
};

/// Something wrong with a document: where, in the words of the language, and what.
struct Issue {
  Position at;
  std::string path;  ///< "jobs.unit.plan.do[0].get(repo).trigger"; empty for the document itself
  std::string message;

  /// "line 3, column 7: PATH: MESSAGE", without the parts that are missing.
  std::string Text() const;
};

/// One text for all of them, a line each.
std::string IssuesText(const std::vector<Issue>& issues);

/// Where the things of a document stand, by their path in messages.
class SourceMap {
 public:
  /// The first position given for a path stays.
  void Add(std::string path, Position at) { positions_.try_emplace(std::move(path), at); }
  /// No position if the path is unknown.
  Position Find(const std::string& path) const {
    const auto found = positions_.find(path);
    return found == positions_.end() ? Position() : found->second;
  }
  bool empty() const { return positions_.empty(); }

 private:
  std::unordered_map<std::string, Position> positions_;
};

}  // namespace pinion::pipeline
