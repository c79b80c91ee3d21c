#pragma once

#include <functional>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/issue.h"
#include "pipeline/yaml.h"

namespace pinion::pipeline {

/// Reads single values of a document and notes what does not fit. Null leaves every value as it is.
/// Private to the readers of this module.
class ValueReader {
 public:
  /// With `coerce`, numbers and booleans are taken as text where text is expected.
  ValueReader(std::vector<Issue>& issues, bool coerce) : issues_(issues), coerce_(coerce) {}

  void Text(const Node& node, const std::string& path, std::string& out);
  void Bool(const Node& node, const std::string& path, bool& out);
  void Integer(const Node& node, const std::string& path, int& out);
  void Texts(const Node& node, const std::string& path, std::vector<std::string>& out);
  /// A list of texts without the empty ones.
  void Tags(const Node& node, const std::string& path, std::vector<std::string>& out);
  void TextMap(const Node& node, const std::string& path, std::map<std::string, std::string>& out);
  /// Any value at all.
  void Any(const Node& node, const std::string& path, Json& out);
  /// A mapping of any values.
  void Object(const Node& node, const std::string& path, Json& out);

  using Item = std::function<void(const Node&, const std::string& path)>;
  /// Calls `read` for every item with the path "PATH[I]".
  void List(const Node& node, const std::string& path, const Item& read);

  struct Field {
    std::string_view name;
    Item read;
  };
  enum class Unknown { kIgnore, kRefuse };
  /// Calls the reader of every key that is there, whatever the case of its letters, with the path
  /// "PATH.KEY".
  void Fields(const Node& node, const std::string& path, std::initializer_list<Field> fields,
              Unknown unknown);

  void Mismatch(const Node& node, const std::string& path, std::string_view expected);
  void Add(const Node& node, const std::string& path, std::string message);

 private:
  std::vector<Issue>& issues_;
  bool coerce_;
};

}  // namespace pinion::pipeline
