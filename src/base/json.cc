#include "base/json.h"

#include <algorithm>
#include <array>
#include <boost/json/basic_parser_impl.hpp>
#include <charconv>
#include <cmath>
#include <cstring>

namespace pinion {
namespace {

// Below this many members a scan is faster than hashing.
constexpr std::size_t kIndexedSize = 16;

/// Builds a Json from the events of Boost.JSON's parser.
class Builder {
 public:
  static constexpr std::size_t max_object_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_array_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_key_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_string_size = static_cast<std::size_t>(-1);
  using Code = boost::json::error_code;
  using Text = boost::json::string_view;

  bool on_document_begin(Code&) { return true; }
  bool on_document_end(Code&) { return true; }
  bool on_object_begin(Code&) { return Open(JsonObject()); }
  bool on_object_end(std::size_t, Code&) { return Close(); }
  bool on_array_begin(Code&) { return Open(JsonArray()); }
  bool on_array_end(std::size_t, Code&) { return Close(); }
  bool on_key_part(Text part, std::size_t, Code&) { return Append(part); }
  bool on_key(Text part, std::size_t, Code&) {
    Append(part);
    keys_.push_back(std::exchange(text_, {}));
    return true;
  }
  bool on_string_part(Text part, std::size_t, Code&) { return Append(part); }
  bool on_string(Text part, std::size_t, Code&) {
    Append(part);
    return Add(std::exchange(text_, {}));
  }
  bool on_number_part(Text, Code&) { return true; }
  bool on_int64(std::int64_t value, Text, Code&) { return Add(static_cast<long long>(value)); }
  bool on_uint64(std::uint64_t value, Text, Code&) { return Add(static_cast<double>(value)); }
  bool on_double(double value, Text text, Code& code) {
    // Boost's own value is off by a few digits for many numbers, and no number at all for 0e400.
    // The text is the whole number: documents come in one piece.
    double exact = value;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), exact);
    if (read.ec == std::errc())
      return Add(exact == 0 ? 0.0 : exact);    // without a sign, as integers
    if (std::abs(value) < 1) return Add(0.0);  // too small to be told from nothing
    code = boost::json::error::exponent_overflow;
    return false;
  }
  bool on_bool(bool value, Code&) { return Add(value); }
  bool on_null(Code&) { return Add(nullptr); }
  bool on_comment_part(Text, Code&) { return true; }
  bool on_comment(Text, Code&) { return true; }

  Json root;

 private:
  bool Append(Text part) {
    text_.append(part.data(), part.size());
    return true;
  }
  bool Open(Json container) {
    open_.push_back(std::move(container));
    return true;
  }
  bool Close() {
    Json done = std::move(open_.back());
    open_.pop_back();
    return Add(std::move(done));
  }
  bool Add(Json value) {
    if (open_.empty()) {
      root = std::move(value);
    } else if (open_.back().IsArray()) {
      open_.back().AsArray().push_back(std::move(value));
    } else {
      open_.back().AsObject().Set(keys_.back(), std::move(value));
      keys_.pop_back();
    }
    return true;
  }

  std::string text_;
  std::vector<Json> open_;
  std::vector<std::string> keys_;
};

std::string Position(std::string_view text, std::size_t offset) {
  const std::string_view before = text.substr(0, offset);
  const auto line = std::ranges::count(before, '\n') + 1;
  const std::size_t start = before.rfind('\n');
  const std::size_t column = start == std::string_view::npos ? offset + 1 : offset - start;
  return "line " + std::to_string(line) + ", column " + std::to_string(column);
}

/// Length of the UTF-8 sequence at the start of `text`, 0 if it is not one.
std::size_t SequenceLength(std::string_view text) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const auto tail = [&](std::size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return tail(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (!tail(1) || !tail(2)) return 0;
    if (first == 0xE0 && byte(1) < 0xA0) return 0;
    if (first == 0xED && byte(1) > 0x9F) return 0;  // surrogates
    return 3;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (!tail(1) || !tail(2) || !tail(3)) return 0;
    if (first == 0xF0 && byte(1) < 0x90) return 0;
    if (first == 0xF4 && byte(1) > 0x8F) return 0;
    return 4;
  }
  return 0;
}

void AppendDouble(std::string& out, double value) {
  if (!std::isfinite(value)) {
    out += "null";  // JSON has no infinities
    return;
  }
  std::array<char, 32> buffer;
  // Go switches to exponents at these bounds; whole numbers print without a fraction.
  const double size = std::abs(value);
  const bool scientific = size != 0 && (size < 1e-6 || size >= 1e21);
  const auto result =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                    scientific ? std::chars_format::scientific : std::chars_format::fixed);
  out.append(buffer.data(), result.ptr);
}

void AppendPretty(std::string& out, const Json& value, std::size_t indent) {
  const auto line = [&](std::size_t depth) {
    out += '\n';
    out.append(depth * 2, ' ');
  };
  if (value.IsArray() && !value.AsArray().empty()) {
    out += '[';
    bool first = true;
    for (const Json& item : value.AsArray()) {
      if (!std::exchange(first, false)) out += ',';
      line(indent + 1);
      AppendPretty(out, item, indent + 1);
    }
    line(indent);
    out += ']';
  } else if (value.IsObject() && !value.AsObject().empty()) {
    out += '{';
    bool first = true;
    for (const auto& [name, item] : value.AsObject()) {
      if (!std::exchange(first, false)) out += ',';
      line(indent + 1);
      AppendQuoted(out, name);
      out += ": ";
      AppendPretty(out, item, indent + 1);
    }
    line(indent);
    out += '}';
  } else {
    AppendText(out, value);
  }
}

}  // namespace

JsonObject::JsonObject() = default;
JsonObject::JsonObject(std::initializer_list<Member> members) {
  for (const Member& member : members)
    Set(member.first, member.second);
}
JsonObject::JsonObject(const JsonObject& other) : members_(other.members_) {}
JsonObject::JsonObject(JsonObject&&) noexcept = default;
JsonObject& JsonObject::operator=(const JsonObject& other) {
  if (this != &other) {
    members_ = other.members_;
    index_.reset();
  }
  return *this;
}
JsonObject& JsonObject::operator=(JsonObject&&) noexcept = default;
JsonObject::~JsonObject() = default;

std::size_t JsonObject::Index(std::string_view name) const {
  if (members_.size() < kIndexedSize) {
    const auto found = std::ranges::find(members_, name, &Member::first);
    return static_cast<std::size_t>(found - members_.begin());
  }
  if (!index_) {
    index_ = std::make_unique<std::unordered_map<std::string, std::size_t>>();
    for (std::size_t i = 0; i < members_.size(); ++i)
      (*index_)[members_[i].first] = i;
  }
  const auto found = index_->find(std::string(name));
  return found == index_->end() ? members_.size() : found->second;
}

const Json* JsonObject::Find(std::string_view name) const {
  const std::size_t index = Index(name);
  return index == members_.size() ? nullptr : &members_[index].second;
}

Json* JsonObject::Find(std::string_view name) {
  return const_cast<Json*>(std::as_const(*this).Find(name));
}

Json& JsonObject::operator[](std::string_view name) {
  const std::size_t index = Index(name);
  if (index == members_.size()) {
    members_.emplace_back(std::string(name), Json());
    if (index_) (*index_)[members_.back().first] = index;
  }
  return members_[index].second;
}

void JsonObject::Set(std::string_view name, Json value) {
  (*this)[name] = std::move(value);
}

bool JsonObject::Erase(std::string_view name) {
  const std::size_t index = Index(name);
  if (index == members_.size()) return false;
  members_.erase(members_.begin() + static_cast<std::ptrdiff_t>(index));
  index_.reset();
  return true;
}

std::size_t JsonObject::size() const {
  return members_.size();
}
bool JsonObject::empty() const {
  return members_.empty();
}
const JsonObject::Member* JsonObject::begin() const {
  return members_.data();
}
const JsonObject::Member* JsonObject::end() const {
  return members_.data() + members_.size();
}
JsonObject::Member* JsonObject::begin() {
  return members_.data();
}
JsonObject::Member* JsonObject::end() {
  return members_.data() + members_.size();
}

void JsonObject::SortByName() {
  std::ranges::sort(members_, {}, &Member::first);  // names are unique
  index_.reset();
}

bool operator==(const JsonObject& a, const JsonObject& b) {
  if (a.size() != b.size()) return false;
  return std::ranges::all_of(a.members_, [&](const JsonObject::Member& member) {
    const Json* other = b.Find(member.first);
    return other && *other == member.second;
  });
}

double Json::AsDouble() const {
  return IsInteger() ? static_cast<double>(AsInteger()) : std::get<double>(value_);
}

const Json* Json::Find(std::string_view name) const {
  return IsObject() ? AsObject().Find(name) : nullptr;
}

std::string_view Json::StringAt(std::string_view name, std::string_view fallback) const {
  const Json* member = Find(name);
  return member && member->IsString() ? std::string_view(member->AsString()) : fallback;
}

std::int64_t Json::IntegerAt(std::string_view name, std::int64_t fallback) const {
  const Json* member = Find(name);
  return member && member->IsInteger() ? member->AsInteger() : fallback;
}

bool Json::BoolAt(std::string_view name, bool fallback) const {
  const Json* member = Find(name);
  return member && member->IsBool() ? member->AsBool() : fallback;
}

std::string_view Json::TypeName() const {
  static constexpr std::array<std::string_view, 7> kNames = {
      "null", "boolean", "number", "number", "string", "array", "object"};
  return kNames[value_.index()];
}

Result<Json> ParseJson(std::string_view text, JsonLimits limits) {
  if (text.size() > limits.bytes) {
    return Fail(ErrorKind::kTooLarge, "JSON of " + std::to_string(text.size()) +
                                          " bytes is over the limit of " +
                                          std::to_string(limits.bytes));
  }
  boost::json::parse_options options;
  options.max_depth = limits.depth;
  boost::json::basic_parser<Builder> parser(options);
  boost::json::error_code code;
  const std::size_t used = parser.write_some(false, text.data(), text.size(), code);
  if (code) {
    const bool deep = code == boost::json::error::too_deep;
    return Fail(deep ? ErrorKind::kTooLarge : ErrorKind::kInvalid,
                Position(text, used) + ": " + (deep ? "nested too deep" : code.message()));
  }
  const std::size_t rest = text.find_first_not_of(" \t\r\n", used);
  if (rest != std::string_view::npos) {
    return Fail(ErrorKind::kInvalid, Position(text, rest) + ": text after the document");
  }
  return std::move(parser.handler().root);
}

namespace {

/// How many bytes from the start are plain for certain, sixteen at a time.
std::size_t PlainRun(std::string_view text) {
  using Bytes = signed char __attribute__((vector_size(16)));
  std::size_t length = 0;
  while (text.size() - length >= sizeof(Bytes)) {
    Bytes bytes;
    std::memcpy(&bytes, text.data() + length, sizeof bytes);
    // Bytes from 0x80 on are negative.
    const auto special = (bytes < 0x20) | (bytes == '"') | (bytes == '\\') | (bytes == '<') |
                         (bytes == '>') | (bytes == '&');
    if (__builtin_reduce_or(special) != 0) break;
    length += sizeof(Bytes);
  }
  return length;
}

bool IsPlain(unsigned char c) {
  return c >= 0x20 && c < 0x80 && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&';
}

}  // namespace

void AppendQuoted(std::string& out, std::string_view text) {
  static constexpr std::string_view kHex = "0123456789abcdef";
  out += '"';
  while (!text.empty()) {
    const auto c = static_cast<unsigned char>(text.front());
    if (IsPlain(c)) {
      // Most of any text: copied a run at a time.
      std::size_t length = std::max<std::size_t>(1, PlainRun(text));
      while (length < text.size() && IsPlain(static_cast<unsigned char>(text[length])))
        ++length;
      out += text.substr(0, length);
      text.remove_prefix(length);
      continue;
    }
    const std::size_t length = SequenceLength(text);
    if (length == 0) {
      out += "\\ufffd";
      text.remove_prefix(1);
      continue;
    }
    if (length > 1) {
      // U+2028 and U+2029 end lines in JavaScript; Go escapes them.
      if (text.starts_with("\xE2\x80\xA8")) {
        out += "\\u2028";
      } else if (text.starts_with("\xE2\x80\xA9")) {
        out += "\\u2029";
      } else {
        out += text.substr(0, length);
      }
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else {
      out += "\\u00";
      out += kHex[c >> 4U];
      out += kHex[c & 15U];
    }
    text.remove_prefix(length);
  }
  out += '"';
}

void AppendText(std::string& out, const Json& value) {
  if (value.IsNull()) {
    out += "null";
  } else if (value.IsBool()) {
    out += value.AsBool() ? "true" : "false";
  } else if (value.IsInteger()) {
    out += std::to_string(value.AsInteger());
  } else if (value.IsDouble()) {
    AppendDouble(out, value.AsDouble());
  } else if (value.IsString()) {
    AppendQuoted(out, value.AsString());
  } else if (value.IsArray()) {
    out += '[';
    bool first = true;
    for (const Json& item : value.AsArray()) {
      if (!std::exchange(first, false)) out += ',';
      AppendText(out, item);
    }
    out += ']';
  } else {
    out += '{';
    bool first = true;
    for (const auto& [name, item] : value.AsObject()) {
      if (!std::exchange(first, false)) out += ',';
      AppendQuoted(out, name);
      out += ':';
      AppendText(out, item);
    }
    out += '}';
  }
}

std::string ToText(const Json& value) {
  std::string out;
  AppendText(out, value);
  return out;
}

std::string ToPrettyText(const Json& value) {
  std::string out;
  AppendPretty(out, value, 0);
  return out;
}

}  // namespace pinion
