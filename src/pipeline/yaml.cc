#include "pipeline/yaml.h"

#include <yaml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>

#include "base/encoding.h"
#include "pipeline/yaml_scalar.h"

namespace pinion::pipeline {
namespace {

Position PositionOf(const yaml_mark_t& mark) {
  return {static_cast<int>(mark.line) + 1, static_cast<int>(mark.column) + 1};
}

std::string Place(Position at) {
  return "line " + std::to_string(at.line) + ", column " + std::to_string(at.column) + ": ";
}

/// Gives up composing; caught in ParseYaml.
struct Broken {
  Error error;
};

[[noreturn]] void Refuse(ErrorKind kind, Position at, const std::string& message) {
  throw Broken{{kind, Place(at) + message}};
}

/// What an anchored value costs when an alias repeats it.
struct Size {
  std::size_t nodes = 1;
  std::size_t text_bytes = 0;
  std::size_t depth = 1;

  void Add(const Size& child) {
    nodes += child.nodes;
    text_bytes += child.text_bytes;
    depth = std::max(depth, child.depth + 1);
  }
};

struct Anchor {
  std::optional<Node> node;  // none while its value is still being read
  Size size;
};

struct Composed {
  Node node;
  Size size;
};

class Composer {
 public:
  Composer(std::string_view text, const YamlLimits& limits) : limits_(limits) {
    if (!yaml_parser_initialize(&parser_)) throw std::bad_alloc();
    yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()),
                                 text.size());
  }
  Composer(const Composer&) = delete;
  Composer& operator=(const Composer&) = delete;
  ~Composer() {
    yaml_event_delete(&event_);
    yaml_parser_delete(&parser_);
  }

  YamlDocument ReadDocument() {
    Next();  // the start of the stream
    Next();
    YamlDocument document;
    if (event_.type == YAML_STREAM_END_EVENT) return document;
    Next();
    document.root = Compose(1).node;
    document.repeated_keys = std::move(repeated_keys_);
    return document;
  }

 private:
  void Next() {
    yaml_event_delete(&event_);
    std::memset(&event_, 0, sizeof(event_));
    if (!yaml_parser_parse(&parser_, &event_)) FailToParse();
  }

  [[noreturn]] void FailToParse() {
    if (parser_.error == YAML_MEMORY_ERROR) throw std::bad_alloc();
    std::string message = parser_.problem ? parser_.problem : "not YAML";
    if (parser_.error == YAML_READER_ERROR) {
      // The reader knows the byte only.
      throw Broken{{ErrorKind::kInvalid,
                    "byte " + std::to_string(parser_.problem_offset + 1) + ": " + message}};
    }
    if (parser_.context) {
      message += std::string(", ") + parser_.context;
      if (parser_.context_mark.line != parser_.problem_mark.line) {
        message += " that began at line " + std::to_string(parser_.context_mark.line + 1);
      }
    }
    Refuse(ErrorKind::kInvalid, PositionOf(parser_.problem_mark), message);
  }

  void Charge(const Size& size, std::size_t depth, Position at) {
    nodes_ += size.nodes;
    text_bytes_ += size.text_bytes;
    if (depth + size.depth - 1 > limits_.depth) {
      Refuse(ErrorKind::kTooLarge, at,
             "nested more than " + std::to_string(limits_.depth) + " levels deep");
    }
    if (nodes_ > limits_.nodes) {
      Refuse(ErrorKind::kTooLarge, at,
             "more than " + std::to_string(limits_.nodes) + " values, aliases expanded");
    }
    if (text_bytes_ > limits_.text_bytes) {
      Refuse(
          ErrorKind::kTooLarge, at,
          "more than " + std::to_string(limits_.text_bytes) + " bytes of text, aliases expanded");
    }
  }

  /// Reads the value whose event is the current one; leaves the event after it as the current one.
  Composed Compose(std::size_t depth) {
    const Position at = PositionOf(event_.start_mark);
    if (event_.type == YAML_ALIAS_EVENT) return ComposeAlias(depth, at);
    const char* anchor = nullptr;
    switch (event_.type) {
      case YAML_SCALAR_EVENT:
        anchor = reinterpret_cast<const char*>(event_.data.scalar.anchor);
        break;
      case YAML_SEQUENCE_START_EVENT:
        anchor = reinterpret_cast<const char*>(event_.data.sequence_start.anchor);
        break;
      case YAML_MAPPING_START_EVENT:
        anchor = reinterpret_cast<const char*>(event_.data.mapping_start.anchor);
        break;
      default:
        Refuse(ErrorKind::kInvalid, at, "a value was expected here");
    }
    const std::string name = anchor ? anchor : "";
    if (!name.empty()) anchors_[name] = Anchor();
    Composed composed;
    composed.node.at = at;
    if (event_.type == YAML_SCALAR_EVENT) {
      ComposeScalar(composed, depth);
    } else {
      Charge({}, depth, at);
      if (event_.type == YAML_SEQUENCE_START_EVENT) {
        ComposeSequence(composed, depth);
      } else {
        ComposeMapping(composed, depth);
      }
    }
    if (!name.empty()) anchors_[name] = {composed.node, composed.size};
    return composed;
  }

  Composed ComposeAlias(std::size_t depth, Position at) {
    const std::string name = reinterpret_cast<const char*>(event_.data.alias.anchor);
    const auto found = anchors_.find(name);
    if (found == anchors_.end()) {
      Refuse(ErrorKind::kInvalid, at, "there is no anchor '" + name + "' before this alias");
    }
    const Anchor& anchor = found->second;
    if (!anchor.node) {
      Refuse(ErrorKind::kInvalid, at, "the value of anchor '" + name + "' contains itself");
    }
    Charge(anchor.size, depth, at);
    Composed composed{*anchor.node, anchor.size};
    Next();
    return composed;
  }

  void ComposeScalar(Composed& composed, std::size_t depth) {
    const auto& scalar = event_.data.scalar;
    const std::string_view value(reinterpret_cast<const char*>(scalar.value), scalar.length);
    composed.size.text_bytes = value.size();
    Charge(composed.size, depth, composed.node.at);
    const std::string_view tag = scalar.tag ? reinterpret_cast<const char*>(scalar.tag) : "";
    auto resolved = ResolveScalar(tag, value, scalar.plain_implicit != 0);
    if (!resolved) {
      Refuse(ErrorKind::kInvalid, composed.node.at, std::move(resolved).error().message);
    }
    composed.node.scalar = std::move(*resolved);
    Next();
  }

  void ComposeSequence(Composed& composed, std::size_t depth) {
    composed.node.kind = Node::Kind::kSequence;
    Next();
    while (event_.type != YAML_SEQUENCE_END_EVENT) {
      Composed item = Compose(depth + 1);
      composed.size.Add(item.size);
      composed.node.items.push_back(std::move(item.node));
    }
    Next();
  }

  bool IsMergeKey() const {
    if (event_.type != YAML_SCALAR_EVENT) return false;
    const auto& scalar = event_.data.scalar;
    const std::string_view value(reinterpret_cast<const char*>(scalar.value), scalar.length);
    const std::string_view tag = scalar.tag ? reinterpret_cast<const char*>(scalar.tag) : "";
    return value == "<<" && (scalar.plain_implicit != 0 || tag == "tag:yaml.org,2002:merge");
  }

  /// Sets a mapping's entry, replacing an earlier one of the same key.
  class Entries {
   public:
    explicit Entries(Node& mapping) : mapping_(mapping) {}
    void Set(std::string key_text, Node key, Node value) {
      const auto [found, added] = index_.try_emplace(std::move(key_text), mapping_.entries.size());
      if (added) {
        mapping_.entries.push_back({std::move(key), std::move(value)});
      } else {
        mapping_.entries[found->second] = {std::move(key), std::move(value)};
      }
    }

   private:
    Node& mapping_;
    std::unordered_map<std::string, std::size_t> index_;
  };

  void ComposeMapping(Composed& composed, std::size_t depth) {
    composed.node.kind = Node::Kind::kMapping;
    Entries entries(composed.node);
    std::unordered_map<std::string, int> lines;  // of the keys as written
    Next();
    while (event_.type != YAML_MAPPING_END_EVENT) {
      const bool merge = IsMergeKey();
      std::string written;
      if (event_.type == YAML_SCALAR_EVENT) {
        written.assign(reinterpret_cast<const char*>(event_.data.scalar.value),
                       event_.data.scalar.length);
      }
      Composed key = Compose(depth + 1);
      const Position at = key.node.at;
      NoteRepeated(lines, written, at);
      Composed value = Compose(depth + 1);
      composed.size.Add(key.size);
      composed.size.Add(value.size);
      if (merge) {
        Merge(entries, std::move(value.node));
        continue;
      }
      auto text = KeyText(key.node);
      if (!text) Refuse(ErrorKind::kInvalid, at, std::move(text).error().message);
      entries.Set(std::move(*text), std::move(key.node), std::move(value.node));
    }
    Next();
  }

  void NoteRepeated(std::unordered_map<std::string, int>& lines, const std::string& written,
                    Position at) {
    const auto [found, added] = lines.try_emplace(written, at.line);
    if (added || repeated_keys_.size() >= 100) return;
    repeated_keys_.push_back(
        {at, "",
         "the key '" + written + "' is already there at line " + std::to_string(found->second)});
  }

  /// The entries of a merge are set as if they stood in its place: they replace earlier keys and
  /// are replaced by later ones. In a list of mappings the first one wins.
  void Merge(Entries& entries, Node value) {
    if (value.IsMapping()) {
      MergeMapping(entries, std::move(value));
      return;
    }
    const Position at = value.at;
    if (!value.IsSequence()) {
      Refuse(ErrorKind::kInvalid, at, "'<<' takes a mapping or a list of mappings");
    }
    for (auto item = value.items.rbegin(); item != value.items.rend(); ++item) {
      if (!item->IsMapping()) {
        Refuse(ErrorKind::kInvalid, item->at, "'<<' takes a mapping or a list of mappings");
      }
      MergeMapping(entries, std::move(*item));
    }
  }

  void MergeMapping(Entries& entries, Node mapping) {
    for (NodeEntry& entry : mapping.entries) {
      std::string text = ValueOrThrow(KeyText(entry.key));
      entries.Set(std::move(text), std::move(entry.key), std::move(entry.value));
    }
  }

  const YamlLimits limits_;
  yaml_parser_t parser_{};
  yaml_event_t event_{};
  std::size_t nodes_ = 0;
  std::size_t text_bytes_ = 0;
  std::unordered_map<std::string, Anchor> anchors_;
  std::vector<Issue> repeated_keys_;
};

}  // namespace

const Node* Node::Find(std::string_view key) const {
  for (const NodeEntry& entry : entries) {
    if (entry.key.IsText() ? entry.key.scalar.AsString() == key
                           : KeyText(entry.key).value_or("") == key) {
      return &entry.value;
    }
  }
  return nullptr;
}

std::string_view Node::TypeName() const {
  if (kind == Kind::kSequence) return "list";
  if (kind == Kind::kMapping) return "mapping";
  return scalar.IsString() ? "text" : scalar.TypeName();
}

Result<YamlDocument> ParseYaml(std::string_view text, YamlLimits limits) {
  if (text.size() > limits.bytes) {
    return Fail(ErrorKind::kTooLarge, "the document has " + std::to_string(text.size()) +
                                          " bytes; at most " + std::to_string(limits.bytes) +
                                          " are read");
  }
  try {
    return Composer(text, limits).ReadDocument();
  } catch (Broken& broken) {
    return std::unexpected(std::move(broken.error));
  }
}

Result<std::string> KeyText(const Node& key) {
  if (key.kind == Node::Kind::kScalar) {
    const Json& value = key.scalar;
    if (value.IsString()) return value.AsString();
    if (value.IsInteger()) return std::to_string(value.AsInteger());
    if (value.IsBool()) return std::string(value.AsBool() ? "true" : "false");
    if (value.IsDouble()) return FloatText(value.AsDouble(), 32);
  }
  return Fail(ErrorKind::kInvalid,
              "a key must be text, a number or a boolean, not " + std::string(key.TypeName()));
}

Result<Json> NodeToJson(const Node& node) {
  switch (node.kind) {
    case Node::Kind::kScalar:
      if (node.scalar.IsDouble() && !std::isfinite(node.scalar.AsDouble())) {
        return Fail(ErrorKind::kInvalid, Place(node.at) + "the number " +
                                             FloatText(node.scalar.AsDouble(), 64) +
                                             " has no form in JSON");
      }
      return node.scalar;
    case Node::Kind::kSequence: {
      JsonArray array;
      array.reserve(node.items.size());
      for (const Node& item : node.items) {
        auto value = NodeToJson(item);
        if (!value) return value;
        array.push_back(std::move(*value));
      }
      return array;
    }
    case Node::Kind::kMapping: {
      JsonObject object;
      for (const NodeEntry& entry : node.entries) {
        auto key = KeyText(entry.key);
        if (!key) return std::unexpected(std::move(key).error().Context(Place(entry.key.at)));
        auto value = NodeToJson(entry.value);
        if (!value) return value;
        object.Set(*key, std::move(*value));
      }
      object.SortByName();
      return object;
    }
  }
  return Json();
}

Node NodeFromJson(const Json& json, Position at) {
  Node node;
  node.at = at;
  if (json.IsArray()) {
    node.kind = Node::Kind::kSequence;
    node.items.reserve(json.AsArray().size());
    for (const Json& item : json.AsArray())
      node.items.push_back(NodeFromJson(item, at));
  } else if (json.IsObject()) {
    node.kind = Node::Kind::kMapping;
    for (const auto& [name, value] : json.AsObject()) {
      node.entries.push_back({NodeFromJson(Json(name), at), NodeFromJson(value, at)});
    }
  } else {
    node.scalar = json;
  }
  return node;
}

}  // namespace pinion::pipeline
