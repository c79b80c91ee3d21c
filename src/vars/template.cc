#include "vars/template.h"

#include <re2/re2.h>

#include <utility>

#include "base/text.h"

namespace pinion::vars {
namespace {

/// No var makes a text longer than this.
constexpr std::size_t kLongestText = 64 << 20;

const re2::RE2& VarExpression() {
  static const re2::RE2 kExpression(R"(\(\(([-/.:@"\w\pL]+)\)\))");
  return kExpression;
}

void ReplaceAll(std::string& text, const std::string& from, const std::string& to) {
  std::string out;
  std::size_t start = 0;
  for (std::size_t at = 0; (at = text.find(from, start)) != std::string::npos;) {
    out.append(text, start, at - start).append(to);
    start = at + from.size();
  }
  out.append(text, start);
  text = std::move(out);
}

Result<void> CollectReferences(const Json& value, std::vector<Reference>& out,
                               std::set<std::string>& seen) {
  if (value.IsString()) {
    for (const std::string& name : NamesIn(value.AsString())) {
      if (!seen.insert(name).second) continue;
      auto reference = Reference::Parse(name);
      if (!reference) return std::unexpected(std::move(reference).error());
      out.push_back(std::move(*reference));
    }
  } else if (value.IsArray()) {
    for (const Json& item : value.AsArray()) {
      if (auto result = CollectReferences(item, out, seen); !result) return result;
    }
  } else if (value.IsObject()) {
    for (const auto& [name, member] : value.AsObject()) {
      if (auto result = CollectReferences(Json(name), out, seen); !result) return result;
      if (auto result = CollectReferences(member, out, seen); !result) return result;
    }
  }
  return {};
}

Result<Json> InterpolateValue(const Json& value, const Variables& variables,
                              std::set<std::string>& missing) {
  if (value.IsString()) return InterpolateText(value.AsString(), variables, missing);
  if (value.IsArray()) {
    JsonArray array;
    array.reserve(value.AsArray().size());
    for (const Json& item : value.AsArray()) {
      auto inner = InterpolateValue(item, variables, missing);
      if (!inner) return inner;
      array.push_back(std::move(*inner));
    }
    return array;
  }
  if (value.IsObject()) {
    JsonObject object;
    for (const auto& [name, member] : value.AsObject()) {
      auto inner = InterpolateValue(member, variables, missing);
      if (!inner) return inner;
      auto key = InterpolateText(name, variables, missing);
      if (!key) return key;
      if (key->IsArray() || key->IsObject() || key->IsNull()) {
        return Fail(ErrorKind::kInvalid,
                    "the key '" + name + "' must become text, not " + std::string(key->TypeName()));
      }
      object.Set(key->IsString() ? key->AsString() : ToText(*key), std::move(*inner));
    }
    return object;
  }
  return value;
}

}  // namespace

std::vector<std::string> NamesIn(std::string_view text) {
  std::vector<std::string> names;
  if (text.find("((") == std::string_view::npos) return names;
  re2::StringPiece rest(text.data(), text.size());
  std::string name;
  while (re2::RE2::FindAndConsume(&rest, VarExpression(), &name))
    names.push_back(name);
  return names;
}

Result<std::vector<Reference>> References(const Json& value) {
  std::vector<Reference> references;
  std::set<std::string> seen;
  if (auto result = CollectReferences(value, references, seen); !result) {
    return std::unexpected(std::move(result).error());
  }
  return references;
}

Result<Json> InterpolateText(const std::string& text, const Variables& variables,
                             std::set<std::string>& missing) {
  std::string out = text;
  for (const std::string& name : NamesIn(text)) {
    auto reference = Reference::Parse(name);
    if (!reference) return std::unexpected(std::move(reference).error());
    auto value = variables.Get(*reference);
    if (!value) return std::unexpected(std::move(value).error());
    if (!*value) {
      missing.insert(reference->Text());
      continue;
    }
    if (re2::RE2::FullMatch(out, VarExpression())) return std::move(**value);
    const Json& found = **value;
    if (!found.IsString() && !found.IsNumber()) {
      return Fail(ErrorKind::kInvalid, "the var " + reference->Text() + " has a value of type " +
                                           std::string(found.TypeName()) +
                                           ", which does not fit into a text");
    }
    ReplaceAll(out, "((" + name + "))", found.IsString() ? found.AsString() : ToText(found));
    if (out.size() > kLongestText) {
      return Fail(ErrorKind::kTooLarge,
                  "a text with the var " + reference->Text() + " becomes too long");
    }
  }
  return Json(std::move(out));
}

Result<Json> Interpolate(const Json& value, const Variables& variables) {
  std::set<std::string> missing;
  return InterpolateValue(value, variables, missing);
}

Result<Json> InterpolateAll(const Json& value, const Variables& variables) {
  std::set<std::string> missing;
  auto result = InterpolateValue(value, variables, missing);
  if (result && !missing.empty()) return std::unexpected(UndefinedVars(missing));
  return result;
}

Error UndefinedVars(const std::set<std::string>& missing) {
  return {ErrorKind::kInvalid, "undefined vars: " + Join({missing.begin(), missing.end()}, ", ")};
}

}  // namespace pinion::vars
