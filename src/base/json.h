#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"

namespace pinion {

class Json;

/// Members of a JSON object in the order they were added; names are unique, the last value wins.
/// Looking up is linear in small objects and hashed in large ones.
class JsonObject {
 public:
  using Member = std::pair<std::string, Json>;

  JsonObject();
  JsonObject(std::initializer_list<Member> members);
  JsonObject(const JsonObject&);
  JsonObject(JsonObject&&) noexcept;
  JsonObject& operator=(const JsonObject&);
  JsonObject& operator=(JsonObject&&) noexcept;
  ~JsonObject();

  /// Null if there is no such member. The pointer lives until the object is changed.
  const Json* Find(std::string_view name) const;
  Json* Find(std::string_view name);
  /// The member's value, added as null if it was not there.
  Json& operator[](std::string_view name);
  void Set(std::string_view name, Json value);
  bool Erase(std::string_view name);

  std::size_t size() const;
  bool empty() const;
  const Member* begin() const;
  const Member* end() const;
  Member* begin();
  Member* end();
  /// Puts the members in the order of their names, as Go prints maps.
  void SortByName();
  /// Equal members, in whatever order.
  friend bool operator==(const JsonObject& a, const JsonObject& b);

 private:
  std::size_t Index(std::string_view name) const;  // size() if absent

  std::vector<Member> members_;
  // Built when the object outgrows linear search; dropped by whatever moves members.
  mutable std::unique_ptr<std::unordered_map<std::string, std::size_t>> index_;
};

using JsonArray = std::vector<Json>;

/// A JSON value: plain data, compared by content. Integers that fit 64 bits stay exact.
class Json {
 public:
  Json() = default;
  Json(std::nullptr_t) {}
  template <class T>
    requires std::same_as<T, bool>
  Json(T value) : value_(value) {}
  Json(int value) : value_(std::int64_t{value}) {}
  Json(unsigned value) : value_(std::int64_t{value}) {}
  Json(long value) : value_(std::int64_t{value}) {}
  Json(long long value) : value_(std::int64_t{value}) {}
  Json(double value) : value_(value) {}
  Json(const char* text) : value_(std::string(text)) {}
  Json(std::string_view text) : value_(std::string(text)) {}
  Json(std::string text) : value_(std::move(text)) {}
  Json(JsonArray array) : value_(std::move(array)) {}
  Json(JsonObject object) : value_(std::move(object)) {}

  bool IsNull() const { return std::holds_alternative<std::monostate>(value_); }
  bool IsBool() const { return std::holds_alternative<bool>(value_); }
  bool IsInteger() const { return std::holds_alternative<std::int64_t>(value_); }
  bool IsDouble() const { return std::holds_alternative<double>(value_); }
  bool IsNumber() const { return IsInteger() || IsDouble(); }
  bool IsString() const { return std::holds_alternative<std::string>(value_); }
  bool IsArray() const { return std::holds_alternative<JsonArray>(value_); }
  bool IsObject() const { return std::holds_alternative<JsonObject>(value_); }

  /// The value as that type; std::bad_variant_access if it is another. Ask Is…() first.
  bool AsBool() const { return std::get<bool>(value_); }
  std::int64_t AsInteger() const { return std::get<std::int64_t>(value_); }
  double AsDouble() const;  // integers too
  const std::string& AsString() const { return std::get<std::string>(value_); }
  const JsonArray& AsArray() const { return std::get<JsonArray>(value_); }
  JsonArray& AsArray() { return std::get<JsonArray>(value_); }
  const JsonObject& AsObject() const { return std::get<JsonObject>(value_); }
  JsonObject& AsObject() { return std::get<JsonObject>(value_); }

  /// The member of an object; null if this is no object or has no such member.
  const Json* Find(std::string_view name) const;
  /// The text of a member; `fallback` if it is absent or no text.
  std::string_view StringAt(std::string_view name, std::string_view fallback = {}) const;
  std::int64_t IntegerAt(std::string_view name, std::int64_t fallback = 0) const;
  bool BoolAt(std::string_view name, bool fallback = false) const;

  /// "null", "boolean", "number", "string", "array" or "object", for error messages.
  std::string_view TypeName() const;

  friend bool operator==(const Json& a, const Json& b) = default;

 private:
  std::variant<std::monostate, bool, std::int64_t, double, std::string, JsonArray, JsonObject>
      value_;
};

/// What a reader of outside input accepts.
struct JsonLimits {
  std::size_t bytes = 16 << 20;
  std::size_t depth = 128;
};

/// Reads one JSON document; anything but white space after it is an error. The error names line and
/// column, and is kTooLarge past a limit.
Result<Json> ParseJson(std::string_view text, JsonLimits limits = {});

/// Compact JSON. `<`, `>` and `&` are escaped as Go's encoder does, so that answers compare equal.
std::string ToText(const Json& value);
void AppendText(std::string& out, const Json& value);
/// Appends `text` as a JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD.
void AppendQuoted(std::string& out, std::string_view text);
/// Indented by two spaces, for people.
std::string ToPrettyText(const Json& value);

}  // namespace pinion
