#include "vars/variables.h"

#include <utility>

namespace pinion::vars {

Result<Json> FollowFields(const Json& value, const Reference& reference) {
  const Json* at = &value;
  for (const std::string& field : reference.fields) {
    if (!at->IsObject()) {
      return Fail(ErrorKind::kInvalid, "cannot access field '" + field + "' of a value of type " +
                                           std::string(at->TypeName()) +
                                           " from var: " + reference.Text());
    }
    at = at->Find(field);
    if (!at) {
      return Fail(ErrorKind::kInvalid, "missing field '" + field + "' in var: " + reference.Text());
    }
  }
  return *at;
}

namespace {

Result<std::optional<Json>> Followed(const Json* value, const Reference& reference) {
  if (!value) return std::nullopt;
  auto followed = FollowFields(*value, reference);
  if (!followed) return std::unexpected(std::move(followed).error());
  return std::optional<Json>(std::move(*followed));
}

}  // namespace

StaticVariables::StaticVariables(const Json& object) {
  if (object.IsObject()) values_ = object.AsObject();
}

Result<std::optional<Json>> StaticVariables::Get(const Reference& reference) const {
  if (!reference.source.empty()) return std::nullopt;
  return Followed(values_.Find(reference.path), reference);
}

void StaticVariables::Set(const Reference& reference, Json value) {
  Json* at = &values_[reference.path];
  for (const std::string& field : reference.fields) {
    if (!at->IsObject()) *at = JsonObject();
    at = &at->AsObject()[field];
  }
  *at = std::move(value);
}

Result<std::optional<Json>> LayeredVariables::Get(const Reference& reference) const {
  for (const Variables* layer : layers_) {
    auto value = layer->Get(reference);
    if (!value || *value) return value;
  }
  return std::nullopt;
}

std::string ResolvedVariables::Key(const Reference& reference) {
  return Reference{reference.source, reference.path, {}}.Text();
}

void ResolvedVariables::Set(const Reference& reference, Json value) {
  values_[Key(reference)] = std::move(value);
}

bool ResolvedVariables::Has(const Reference& reference) const {
  return values_.contains(Key(reference));
}

Result<std::optional<Json>> ResolvedVariables::Get(const Reference& reference) const {
  const auto found = values_.find(Key(reference));
  return Followed(found == values_.end() ? nullptr : &found->second, reference);
}

void LocalVariables::Set(const std::string& name, Json value, bool secret) {
  values_[name] = {std::move(value), secret};
}

Result<std::optional<Json>> LocalVariables::Get(const Reference& reference) const {
  if (reference.source != ".") return std::nullopt;
  for (const LocalVariables* scope = this; scope; scope = scope->parent_) {
    const auto found = scope->values_.find(reference.path);
    if (found != scope->values_.end()) return Followed(&found->second.json, reference);
  }
  return std::nullopt;
}

std::vector<std::string> LocalVariables::SecretTexts() const {
  std::vector<std::string> texts;
  for (const LocalVariables* scope = this; scope; scope = scope->parent_) {
    for (const auto& [name, value] : scope->values_) {
      if (value.secret) CollectTexts(value.json, texts);
    }
  }
  return texts;
}

void CollectTexts(const Json& value, std::vector<std::string>& out) {
  if (value.IsString()) {
    out.push_back(value.AsString());
  } else if (value.IsObject()) {
    for (const auto& [name, member] : value.AsObject())
      CollectTexts(member, out);
  }
}

}  // namespace pinion::vars
