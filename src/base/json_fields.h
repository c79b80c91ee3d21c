#pragma once

#include <concepts>
#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "base/box.h"
#include "base/ids.h"
#include "base/json.h"

namespace pinion {

/// One declaration of a struct's JSON shape serves writing and reading. A struct opts in with
///
///   template <class Self, class Visit>
///   static void Fields(Self& self, Visit& visit) {
///     visit("name", self.name);
///     visit("paused", self.paused, kOmitEmpty);
///   }
///
/// Field types: bool, integers, double, std::string, Json, Id<>, std::optional, Box, std::vector,
/// std::map<std::string, T>, and structs with Fields. Reading: absent and null leave the default,
/// unknown members are ignored, a wrong type is an error that names the path.
enum class FieldRule {
  kAlways,
  kOmitEmpty,  ///< left out when zero, false, "", empty or absent (Go's omitempty)
};
inline constexpr FieldRule kOmitEmpty = FieldRule::kOmitEmpty;

namespace json_fields {

struct NoVisit {
  template <class T>
  void operator()(std::string_view, T&, FieldRule = FieldRule::kAlways) {}
};

template <class T>
concept HasFields = requires(T& value, NoVisit& visit) { T::Fields(value, visit); };

template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};
template <class T>
struct IsOptional<Box<T>> : std::true_type {};
template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};
template <class T>
struct IsMap : std::false_type {};
template <class T>
struct IsMap<std::map<std::string, T>> : std::true_type {};
template <class T>
struct IsId : std::false_type {};
template <class Tag>
struct IsId<Id<Tag>> : std::true_type {};

template <class T>
bool IsEmpty(const T& value) {
  if constexpr (std::is_arithmetic_v<T>) {
    return value == T{};
  } else if constexpr (std::is_same_v<T, Json>) {
    return value.IsNull();
  } else if constexpr (IsOptional<T>::value) {
    return !value.has_value();
  } else if constexpr (IsId<T>::value) {
    return value.value == 0;
  } else if constexpr (HasFields<T>) {
    return false;  // Go never omits a struct
  } else {
    return value.empty();
  }
}

}  // namespace json_fields

template <class T>
Json ToJson(const T& value) {
  using namespace json_fields;
  if constexpr (std::is_same_v<T, Json> || std::is_same_v<T, std::string> ||
                std::is_same_v<T, bool>) {
    return Json(value);
  } else if constexpr (std::is_integral_v<T>) {
    return Json(static_cast<long long>(value));
  } else if constexpr (std::is_floating_point_v<T>) {
    return Json(static_cast<double>(value));
  } else if constexpr (IsId<T>::value) {
    return Json(static_cast<long long>(value.value));
  } else if constexpr (IsOptional<T>::value) {
    return value ? ToJson(*value) : Json();
  } else if constexpr (IsVector<T>::value) {
    JsonArray array;
    array.reserve(value.size());
    for (const auto& item : value)
      array.push_back(ToJson(item));
    return array;
  } else if constexpr (IsMap<T>::value) {
    JsonObject object;
    for (const auto& [name, item] : value)
      object.Set(name, ToJson(item));
    return object;
  } else {
    static_assert(HasFields<T>, "no JSON shape is declared for this type");
    JsonObject object;
    auto visit = [&](std::string_view name, const auto& field,
                     FieldRule rule = FieldRule::kAlways) {
      if (rule == kOmitEmpty && IsEmpty(field)) return;
      object.Set(name, ToJson(field));
    };
    T::Fields(value, visit);
    return object;
  }
}

namespace json_fields {

inline std::unexpected<Error> Mismatch(const std::string& path, std::string_view expected,
                                       const Json& value) {
  return Fail(ErrorKind::kInvalid, (path.empty() ? "document" : path) + ": expected " +
                                       std::string(expected) + ", got " +
                                       std::string(value.TypeName()));
}

template <class T>
Result<void> Read(const Json& json, T& out, const std::string& path) {
  if (json.IsNull()) return {};
  if constexpr (std::is_same_v<T, Json>) {
    out = json;
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (!json.IsString()) return Mismatch(path, "string", json);
    out = json.AsString();
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!json.IsBool()) return Mismatch(path, "boolean", json);
    out = json.AsBool();
  } else if constexpr (std::is_integral_v<T>) {
    if (!json.IsInteger()) return Mismatch(path, "integer", json);
    if (!std::in_range<T>(json.AsInteger())) {
      return Fail(ErrorKind::kInvalid, path + ": number out of range");
    }
    out = static_cast<T>(json.AsInteger());
  } else if constexpr (std::is_floating_point_v<T>) {
    if (!json.IsNumber()) return Mismatch(path, "number", json);
    out = static_cast<T>(json.AsDouble());
  } else if constexpr (IsId<T>::value) {
    return Read(json, out.value, path);
  } else if constexpr (IsOptional<T>::value) {
    return Read(json, out.emplace(), path);
  } else if constexpr (IsVector<T>::value) {
    if (!json.IsArray()) return Mismatch(path, "array", json);
    out.clear();
    for (const Json& item : json.AsArray()) {
      auto result =
          Read(item, out.emplace_back(), path + "[" + std::to_string(out.size() - 1) + "]");
      if (!result) return result;
    }
  } else if constexpr (IsMap<T>::value) {
    if (!json.IsObject()) return Mismatch(path, "object", json);
    out.clear();
    for (const auto& [name, item] : json.AsObject()) {
      auto result = Read(item, out[name], path.empty() ? name : path + "." + name);
      if (!result) return result;
    }
  } else {
    static_assert(HasFields<T>, "no JSON shape is declared for this type");
    if (!json.IsObject()) return Mismatch(path, "object", json);
    Result<void> result;
    auto visit = [&](std::string_view name, auto& field, FieldRule = FieldRule::kAlways) {
      const Json* member = result ? json.Find(name) : nullptr;
      if (!member) return;
      result =
          Read(*member, field, path.empty() ? std::string(name) : path + "." + std::string(name));
    };
    T::Fields(out, visit);
    return result;
  }
  return {};
}

}  // namespace json_fields

template <class T>
Result<T> FromJson(const Json& json) {
  T value{};
  auto result = json_fields::Read(json, value, "");
  if (!result) return std::unexpected(std::move(result).error());
  return value;
}

/// Text to struct, as request bodies and files are read.
template <class T>
Result<T> FromText(std::string_view text, JsonLimits limits = {}) {
  auto json = ParseJson(text, limits);
  if (!json) return std::unexpected(std::move(json).error());
  return FromJson<T>(*json);
}

}  // namespace pinion
