#include "api/instance_vars.h"

#include "base/encoding.h"

namespace pinion::api {

namespace {

constexpr std::size_t kDepthMax = 32;

/// The segments of a dotted path: a."b.c".d
Result<std::vector<std::string>> ParsePath(std::string_view path) {
  std::vector<std::string> segments;
  std::size_t at = 0;
  while (at < path.size()) {
    std::string segment;
    if (path[at] == '"') {
      const std::size_t end = path.find('"', at + 1);
      if (end == std::string_view::npos) {
        return Fail(ErrorKind::kInvalid, "unclosed quote in '" + std::string(path) + "'");
      }
      segment = path.substr(at + 1, end - at - 1);
      at = end + 1;
      if (at < path.size() && path[at] != '.') {
        return Fail(ErrorKind::kInvalid,
                    "expected '.' after a quote in '" + std::string(path) + "'");
      }
    } else {
      const std::size_t end = std::min(path.find('.', at), path.size());
      segment = path.substr(at, end - at);
      at = end;
    }
    if (segment.empty()) {
      return Fail(ErrorKind::kInvalid, "empty segment in '" + std::string(path) + "'");
    }
    segments.push_back(std::move(segment));
    if (at < path.size() && ++at == path.size()) {
      return Fail(ErrorKind::kInvalid, "empty segment in '" + std::string(path) + "'");
    }
  }
  if (segments.empty() || segments.size() > kDepthMax) {
    return Fail(ErrorKind::kInvalid, "invalid path '" + std::string(path) + "'");
  }
  return segments;
}

Result<void> Put(JsonObject& root, const std::vector<std::string>& path, Json value) {
  JsonObject* object = &root;
  for (std::size_t i = 0; i + 1 < path.size(); ++i) {
    Json& member = (*object)[path[i]];
    if (member.IsNull()) member = JsonObject();
    if (!member.IsObject()) {
      return Fail(ErrorKind::kInvalid, "'" + path[i] + "' is both a value and an object");
    }
    object = &member.AsObject();
  }
  if (const Json* present = object->Find(path.back()); present && present->IsObject()) {
    return Fail(ErrorKind::kInvalid, "'" + path.back() + "' is both a value and an object");
  }
  object->Set(path.back(), std::move(value));
  return {};
}

void SortDeeply(Json& value) {
  if (value.IsArray()) {
    for (Json& item : value.AsArray())
      SortDeeply(item);
  } else if (value.IsObject()) {
    for (auto& [name, member] : value.AsObject())
      SortDeeply(member);
    value.AsObject().SortByName();
  }
}

bool NeedsQuotes(std::string_view segment) {
  return segment.find_first_of(".:/ ") != std::string_view::npos;
}

void AppendQuery(std::string& out, const std::string& prefix, const JsonObject& object) {
  for (const auto& [name, value] : object) {
    const std::string ref = prefix + (NeedsQuotes(name) ? "\"" + name + "\"" : name);
    if (value.IsObject() && !value.AsObject().empty()) {
      AppendQuery(out, ref + ".", value.AsObject());
    } else {
      out += "&vars." + PercentEncode(ref) + "=" + PercentEncode(ToText(value));
    }
  }
}

}  // namespace

Result<std::string> InstanceVarsText(const Json& vars) {
  if (vars.IsNull()) return std::string();
  if (!vars.IsObject()) {
    return Fail(ErrorKind::kInvalid,
                "instance vars: expected object, got " + std::string(vars.TypeName()));
  }
  if (vars.AsObject().empty()) return std::string();
  Json sorted = vars;
  SortDeeply(sorted);
  return ToText(sorted);
}

Result<std::string> InstanceVarsOf(const http::Query& query) {
  JsonObject vars;
  for (const auto& [name, text] : query) {
    if (name != "vars") continue;
    auto whole = ParseJson(text);
    if (!whole || !whole->IsObject()) {
      return Fail(ErrorKind::kInvalid, "vars: expected a JSON object");
    }
    vars = whole->AsObject();
  }
  for (const auto& [name, text] : query) {
    if (!name.starts_with("vars.")) continue;
    auto value = ParseJson(text);
    if (!value) return Fail(ErrorKind::kInvalid, name + ": " + value.error().message);
    const auto path = ParsePath(std::string_view(name).substr(5));
    if (!path) return std::unexpected(path.error());
    if (auto put = Put(vars, *path, std::move(*value)); !put) return std::unexpected(put.error());
  }
  return InstanceVarsText(Json(std::move(vars)));
}

std::string InstanceVarsQuery(std::string_view stored) {
  std::string out;
  const auto vars = ParseJson(stored);
  if (vars && vars->IsObject()) AppendQuery(out, "", vars->AsObject());
  return out;
}

}  // namespace pinion::api
