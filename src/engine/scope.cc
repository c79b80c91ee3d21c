#include "engine/scope.h"

#include <algorithm>

namespace pinion::engine {
namespace {

void CollectTexts(const Json& value, std::vector<std::string>& out) {
  if (value.IsString()) {
    out.push_back(value.AsString());
  } else if (value.IsArray()) {
    for (const Json& item : value.AsArray())
      CollectTexts(item, out);
  } else if (value.IsObject()) {
    for (const auto& [name, item] : value.AsObject())
      CollectTexts(item, out);
  }
}

}  // namespace

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

void Scope::SetLocalVar(const std::string& name, Json value, bool secret) {
  if (secret) CollectTexts(value, secrets_);
  vars_[name] = std::move(value);
}

const Json* Scope::FindLocalVar(const std::string& name) const {
  for (const Scope* scope = this; scope; scope = scope->parent_) {
    const auto found = scope->vars_.find(name);
    if (found != scope->vars_.end()) return &found->second;
  }
  return nullptr;
}

std::vector<std::string> Scope::Secrets() const {
  std::vector<std::string> all;
  for (const Scope* scope = this; scope; scope = scope->parent_) {
    all.insert(all.end(), scope->secrets_.begin(), scope->secrets_.end());
  }
  return all;
}

}  // namespace pinion::engine
