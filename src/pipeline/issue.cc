#include "pipeline/issue.h"

namespace pinion::pipeline {

std::string Issue::Text() const {
  std::string text;
  if (at) {
    text = "line " + std::to_string(at.line) + ", column " + std::to_string(at.column) + ": ";
  }
  if (!path.empty()) text += path + ": ";
  return text + message;
}

std::string IssuesText(const std::vector<Issue>& issues) {
  std::string text;
  for (const Issue& issue : issues) {
    if (!text.empty()) text += '\n';
    text += issue.Text();
  }
  return text;
}

}  // namespace pinion::pipeline
