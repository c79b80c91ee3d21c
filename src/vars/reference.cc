#include "vars/reference.h"

#include <optional>

#include "base/text.h"

namespace pinion::vars {
namespace {

std::optional<std::size_t> FindOutsideQuotes(std::string_view text, char wanted) {
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') {
      quoted = !quoted;
    } else if (text[i] == wanted && !quoted) {
      return i;
    }
  }
  return std::nullopt;
}

std::unexpected<Error> Invalid(std::string_view text, std::string_view reason) {
  return Fail(ErrorKind::kInvalid,
              "invalid var '" + std::string(text) + "': " + std::string(reason));
}

void AppendSegment(std::string& out, const std::string& segment) {
  // Parse() knows no escapes: what stands between quotes stands for itself.
  if (segment.find_first_of(",.:/ \t\r\n\v\f") == std::string::npos) {
    out += segment;
  } else {
    out.append("\"").append(segment).append("\"");
  }
}

}  // namespace

Result<Reference> Reference::Parse(std::string_view text) {
  Reference reference;
  std::string_view rest = text;
  if (const auto colon = FindOutsideQuotes(rest, ':')) {
    reference.source = std::string(rest.substr(0, *colon));
    if (reference.source.find('"') != std::string::npos) {
      return Invalid(text, "the source must not be quoted");
    }
    rest.remove_prefix(*colon + 1);
  }
  std::vector<std::string> segments;
  for (bool more = true; more;) {
    const auto dot = FindOutsideQuotes(rest, '.');
    std::string segment;
    for (const char c : Trim(rest.substr(0, dot.value_or(rest.size())))) {
      if (c != '"') segment += c;
    }
    if (segment.empty()) return Invalid(text, "a segment is empty");
    segments.push_back(std::move(segment));
    more = dot.has_value();
    if (more) rest.remove_prefix(*dot + 1);
  }
  reference.path = std::move(segments.front());
  reference.fields.assign(std::make_move_iterator(segments.begin() + 1),
                          std::make_move_iterator(segments.end()));
  return reference;
}

std::string Reference::Text() const {
  std::string text = source.empty() ? "" : source + ":";
  AppendSegment(text, path);
  for (const std::string& field : fields) {
    text += '.';
    AppendSegment(text, field);
  }
  return text;
}

}  // namespace pinion::vars
