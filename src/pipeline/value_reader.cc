#include "pipeline/value_reader.h"

#include <cmath>
#include <limits>
#include <utility>

#include "base/text.h"

namespace pinion::pipeline {
namespace {

/// More than anybody reads; a document of a million mistakes must not cost a million messages.
constexpr std::size_t kMostIssues = 200;

std::string Shown(const Node& node) {
  if (node.kind != Node::Kind::kScalar) return std::string(node.TypeName());
  std::string text = node.scalar.IsString() ? "'" + node.scalar.AsString().substr(0, 40) + "'"
                                            : ToText(node.scalar);
  return std::string(node.TypeName()) + " " + text;
}

}  // namespace

void ValueReader::Add(const Node& node, const std::string& path, std::string message) {
  if (issues_.size() < kMostIssues) issues_.push_back({node.at, path, std::move(message)});
}

void ValueReader::Mismatch(const Node& node, const std::string& path, std::string_view expected) {
  Add(node, path, "expected " + std::string(expected) + ", got " + Shown(node));
}

void ValueReader::Text(const Node& node, const std::string& path, std::string& out) {
  if (node.IsNull()) return;
  if (node.IsText()) {
    out = node.scalar.AsString();
  } else if (coerce_ && node.kind == Node::Kind::kScalar) {
    out = ValueOrThrow(KeyText(node));  // scalars other than null always have a text
  } else {
    Mismatch(node, path, "text");
  }
}

void ValueReader::Bool(const Node& node, const std::string& path, bool& out) {
  if (node.IsNull()) return;
  if (node.kind == Node::Kind::kScalar && node.scalar.IsBool()) {
    out = node.scalar.AsBool();
  } else {
    Mismatch(node, path, "true or false");
  }
}

void ValueReader::Integer(const Node& node, const std::string& path, int& out) {
  if (node.IsNull()) return;
  const bool number = node.kind == Node::Kind::kScalar && node.scalar.IsNumber();
  const double value = number ? node.scalar.AsDouble() : 0;
  if (!number || value != std::floor(value)) {
    Mismatch(node, path, "a whole number");
  } else if (std::abs(value) > std::numeric_limits<int>::max()) {
    Add(node, path, "the number is too large");
  } else {
    out = static_cast<int>(value);
  }
}

void ValueReader::Texts(const Node& node, const std::string& path, std::vector<std::string>& out) {
  List(node, path, [&](const Node& item, const std::string& item_path) {
    Text(item, item_path, out.emplace_back());
  });
}

void ValueReader::Tags(const Node& node, const std::string& path, std::vector<std::string>& out) {
  ValueReader strict(issues_, false);
  strict.Texts(node, path, out);
  std::erase_if(out, [](const std::string& tag) { return tag.empty(); });
}

void ValueReader::TextMap(const Node& node, const std::string& path,
                          std::map<std::string, std::string>& out) {
  if (node.IsNull()) return;
  if (!node.IsMapping()) return Mismatch(node, path, "a mapping");
  for (const NodeEntry& entry : node.entries) {
    const std::string key = KeyText(entry.key).value_or("");
    Text(entry.value, path + "." + key, out[key]);
  }
}

void ValueReader::Any(const Node& node, const std::string& path, Json& out) {
  auto json = NodeToJson(node);
  if (json) {
    out = std::move(*json);
  } else {
    Add(node, path, std::move(json).error().message);
  }
}

void ValueReader::Object(const Node& node, const std::string& path, Json& out) {
  if (node.IsNull()) return;
  if (!node.IsMapping()) return Mismatch(node, path, "a mapping");
  Any(node, path, out);
}

void ValueReader::List(const Node& node, const std::string& path, const Item& read) {
  if (node.IsNull()) return;
  if (!node.IsSequence()) return Mismatch(node, path, "a list");
  for (std::size_t i = 0; i < node.items.size(); ++i) {
    read(node.items[i], path + "[" + std::to_string(i) + "]");
  }
}

void ValueReader::Fields(const Node& node, const std::string& path,
                         std::initializer_list<Field> fields, Unknown unknown) {
  if (node.IsNull()) return;
  if (!node.IsMapping()) return Mismatch(node, path, "a mapping");
  const std::string prefix = path.empty() ? "" : path + ".";
  for (const NodeEntry& entry : node.entries) {
    const std::string key = KeyText(entry.key).value_or("");
    const Field* found = nullptr;
    for (const Field& field : fields) {
      if (field.name == key) {
        found = &field;
        break;
      }
      if (!found && ToLower(field.name) == ToLower(key)) found = &field;
    }
    if (found) {
      found->read(entry.value, prefix + std::string(found->name));
    } else if (unknown == Unknown::kRefuse) {
      std::vector<std::string_view> names;
      for (const Field& field : fields)
        names.push_back(field.name);
      const std::string_view near = Nearest(key, names);
      Add(entry.key, path,
          "unknown key '" + key + "'" +
              (near.empty() ? "" : ", did you mean '" + std::string(near) + "'?"));
    }
  }
}

}  // namespace pinion::pipeline
