#include <yaml.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "pipeline/yaml.h"
#include "pipeline/yaml_scalar.h"

namespace pinion::pipeline {
namespace {

bool IsDigit(char32_t code) {
  return code >= U'0' && code <= U'9';
}

/// The number that starts at `i` and where it ends. Wraps around when it is too long, as any order
/// does for names that differ only there.
std::pair<std::uint64_t, std::size_t> NumberAt(const std::u32string& text, std::size_t i,
                                               std::uint64_t start) {
  std::uint64_t number = start;
  for (; i < text.size() && IsDigit(text[i]); ++i)
    number = number * 10 + (text[i] - U'0');
  return {number, i};
}

/// "a2" before "a10", letters after everything else.
bool NaturallyLess(const std::string& left, const std::string& right) {
  const std::u32string a = CodePoints(left);
  const std::u32string b = CodePoints(right);
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    if (a[i] == b[i]) continue;
    const bool letter_a = IsLetter(a[i]);
    const bool letter_b = IsLetter(b[i]);
    if (letter_a && letter_b) return a[i] < b[i];
    if (letter_a || letter_b) return letter_b;
    // A zero that continues a number is part of it.
    std::uint64_t start = 0;
    if (a[i] == U'0' || b[i] == U'0') {
      for (std::size_t j = i; j > 0 && IsDigit(a[j - 1]); --j) {
        if (a[j - 1] != U'0') {
          start = 1;
          break;
        }
      }
    }
    const auto [number_a, end_a] = NumberAt(a, i, start);
    const auto [number_b, end_b] = NumberAt(b, i, start);
    if (number_a != number_b) {
      return static_cast<std::int64_t>(number_a) < static_cast<std::int64_t>(number_b);
    }
    if (end_a != end_b) return end_a < end_b;
    return a[i] < b[i];
  }
  return a.size() < b.size();
}

class Emitter {
 public:
  Emitter() {
    if (!yaml_emitter_initialize(&emitter_)) throw std::bad_alloc();
    yaml_emitter_set_unicode(&emitter_, 1);
    yaml_emitter_set_output(&emitter_, &Append, &out_);
  }
  Emitter(const Emitter&) = delete;
  Emitter& operator=(const Emitter&) = delete;
  ~Emitter() { yaml_emitter_delete(&emitter_); }

  std::string Document(const Json& value) {
    yaml_event_t event;
    Send(event, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING));
    Send(event, yaml_document_start_event_initialize(&event, nullptr, nullptr, nullptr, 1));
    Value(value);
    Send(event, yaml_document_end_event_initialize(&event, 1));
    Send(event, yaml_stream_end_event_initialize(&event));
    return std::move(out_);
  }

 private:
  static int Append(void* out, unsigned char* bytes, std::size_t size) {
    static_cast<std::string*>(out)->append(reinterpret_cast<const char*>(bytes), size);
    return 1;
  }

  void Send(yaml_event_t& event, int made) {
    if (!made) throw std::runtime_error("making a YAML event failed");
    if (!yaml_emitter_emit(&emitter_, &event)) {
      throw std::runtime_error(std::string("writing YAML: ") +
                               (emitter_.problem ? emitter_.problem : "out of memory"));
    }
  }

  void Scalar(std::string_view text, yaml_scalar_style_t style) {
    yaml_event_t event;
    const auto* bytes = reinterpret_cast<const yaml_char_t*>(text.data());
    int made = yaml_scalar_event_initialize(&event, nullptr, nullptr, bytes,
                                            static_cast<int>(text.size()), 1, 1, style);
    std::string repaired;
    if (!made) {
      // Not UTF-8: what JSON would make of it.
      AppendQuoted(repaired, text);
      repaired = ParseJson(repaired)->AsString();
      bytes = reinterpret_cast<const yaml_char_t*>(repaired.data());
      made = yaml_scalar_event_initialize(&event, nullptr, nullptr, bytes,
                                          static_cast<int>(repaired.size()), 1, 1, style);
    }
    Send(event, made);
  }

  void Text(const std::string& text) {
    if (text.find('\n') != std::string::npos) {
      Scalar(text, YAML_LITERAL_SCALAR_STYLE);
    } else {
      Scalar(text, NeedsQuotes(text) ? YAML_DOUBLE_QUOTED_SCALAR_STYLE : YAML_PLAIN_SCALAR_STYLE);
    }
  }

  void Number(double value) {
    // Whole numbers are written as such, whatever they were.
    const bool whole = std::abs(value) < 1e18 && value == std::floor(value);
    Scalar(whole ? std::to_string(static_cast<std::int64_t>(value)) : FloatText(value, 64),
           YAML_PLAIN_SCALAR_STYLE);
  }

  void Value(const Json& value) {
    if (value.IsString()) {
      Text(value.AsString());
    } else if (value.IsDouble()) {
      Number(value.AsDouble());
    } else if (value.IsArray()) {
      yaml_event_t event;
      Send(event, yaml_sequence_start_event_initialize(&event, nullptr, nullptr, 1,
                                                       YAML_BLOCK_SEQUENCE_STYLE));
      for (const Json& item : value.AsArray())
        Value(item);
      Send(event, yaml_sequence_end_event_initialize(&event));
    } else if (value.IsObject()) {
      Object(value.AsObject());
    } else {
      Scalar(ToText(value), YAML_PLAIN_SCALAR_STYLE);
    }
  }

  void Object(const JsonObject& object) {
    std::vector<const JsonObject::Member*> members;
    members.reserve(object.size());
    for (const auto& member : object)
      members.push_back(&member);
    std::ranges::sort(members, NaturallyLess,
                      [](const auto* member) -> const std::string& { return member->first; });
    yaml_event_t event;
    Send(event, yaml_mapping_start_event_initialize(&event, nullptr, nullptr, 1,
                                                    YAML_BLOCK_MAPPING_STYLE));
    for (const auto* member : members) {
      Text(member->first);
      Value(member->second);
    }
    Send(event, yaml_mapping_end_event_initialize(&event));
  }

  yaml_emitter_t emitter_{};
  std::string out_;
};

}  // namespace

std::string EmitYaml(const Json& value) {
  return Emitter().Document(value);
}

}  // namespace pinion::pipeline
