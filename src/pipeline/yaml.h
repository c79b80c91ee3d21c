#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "pipeline/issue.h"

/// YAML documents as trees whose every value knows where it stands. Scalars are resolved as Go's
/// YAML 1.1 readers do (yes/no/on/off, octal 010, 1_000), anchors and `<<` merges are expanded.
namespace pinion::pipeline {

struct NodeEntry;

/// A value of a document. Plain data; copies are deep.
struct Node {
  enum class Kind : std::uint8_t { kScalar, kSequence, kMapping };

  Kind kind = Kind::kScalar;
  Position at;
  Json scalar;                     ///< null, boolean, integer, float or text
  std::vector<Node> items;         ///< of a sequence
  std::vector<NodeEntry> entries;  ///< of a mapping, in the document's order, keys unique as text

  bool IsNull() const { return kind == Kind::kScalar && scalar.IsNull(); }
  bool IsText() const { return kind == Kind::kScalar && scalar.IsString(); }
  bool IsSequence() const { return kind == Kind::kSequence; }
  bool IsMapping() const { return kind == Kind::kMapping; }
  /// The value of a mapping's key, null if there is none. Keys are compared as text.
  const Node* Find(std::string_view key) const;
  /// "text", "number", "boolean", "null", "list" or "mapping", for messages.
  std::string_view TypeName() const;
};

struct NodeEntry {
  Node key;
  Node value;
};

/// What a reader of YAML accepts. The limits on nodes and text hold after aliases are expanded.
struct YamlLimits {
  std::size_t bytes = 10 << 20;
  std::size_t depth = 100;
  std::size_t nodes = 1'000'000;
  std::size_t text_bytes = 64 << 20;
};

struct YamlDocument {
  Node root;  ///< null for an empty document
  /// Keys that a mapping has more than once, at the later place. The last one won.
  std::vector<Issue> repeated_keys;
};

/// Reads the first document of a stream. Errors name line and column: kInvalid for broken YAML,
/// kTooLarge past a limit. JSON is accepted as the YAML that it nearly is.
Result<YamlDocument> ParseYaml(std::string_view text, YamlLimits limits = {});

/// The key as JSON has it: numbers and booleans as text; kInvalid for null and other keys.
Result<std::string> KeyText(const Node& key);

/// The value as JSON, members in the order of their names. kInvalid for what JSON has not: null
/// keys, infinite numbers.
Result<Json> NodeToJson(const Node& node);
/// The tree of a JSON value, every node at one place.
Node NodeFromJson(const Json& json, Position at = {});

/// A float as Go's 'g' format prints it, shortest for so many bits (32 or 64).
std::string FloatText(double value, int bits);

/// YAML text of a value as Go's YAML writer lays it out: members sorted the natural way, block
/// style, lines folded at 80 columns.
std::string EmitYaml(const Json& value);

}  // namespace pinion::pipeline
