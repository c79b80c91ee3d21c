#pragma once

#include <string>
#include <vector>

#include "cli/context.h"

namespace pinion::cli {

struct Cell {
  std::string text;
  Style style = style::kPlain;

  Cell() = default;
  Cell(const char* content) : text(content) {}
  Cell(std::string content) : text(std::move(content)) {}
  Cell(std::string content, Style look) : text(std::move(content)), style(look) {}
};
using Row = std::vector<Cell>;

/// "yes" or "no", the first in colour.
Cell YesNo(bool value);
/// The text, or a faint "none".
Cell OrNone(std::string text);
/// The text, or "n/a".
Cell OrNotAvailable(std::string text);
Cell StatusCell(std::string status);

/// Columns as wide as their widest cell, two spaces between them. The header is printed on a
/// terminal, or when it was asked for.
struct Table {
  std::vector<std::string> headers;
  std::vector<Row> rows;

  void SortByFirstColumn();
  void Print(Context& context, bool always_with_header = false) const;
};

}  // namespace pinion::cli
