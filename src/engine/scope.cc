#include "engine/scope.h"

namespace pinion::engine {
const Artifact* Scope::FindArtifact(const std::string& name) const {
  for (const Scope* scope = this; scope; scope = scope->parent_) {
    const auto found = scope->artifacts_.find(name);
    if (found != scope->artifacts_.end()) return &found->second;
  }
  return nullptr;
}

std::map<std::string, Artifact> Scope::Artifacts() const {
  std::map<std::string, Artifact> all = artifacts_;
  for (const Scope* scope = parent_; scope; scope = scope->parent_) {
    all.insert(scope->artifacts_.begin(), scope->artifacts_.end());  // inner ones stay
  }
  return all;
}

const protocol::Version* Scope::FindVersion(const std::string& plan_id) const {
  for (const Scope* scope = this; scope; scope = scope->parent_) {
    const auto found = scope->versions_.find(plan_id);
    if (found != scope->versions_.end()) return &found->second;
  }
  return nullptr;
}

}  // namespace pinion::engine
