#include "cli/table.h"

#include <algorithm>
#include <ostream>

namespace pinion::cli {

Cell YesNo(bool value) {
  return value ? Cell("yes", style::kOn) : Cell("no");
}

Cell OrNone(std::string text) {
  return text.empty() ? Cell("none", style::kFaint) : Cell(std::move(text));
}

Cell OrNotAvailable(std::string text) {
  return text.empty() ? Cell("n/a") : Cell(std::move(text));
}

Cell StatusCell(std::string status) {
  const Style look = StatusStyle(status);
  return Cell(std::move(status), look);
}

void Table::SortByFirstColumn() {
  std::ranges::sort(rows,
                    [](const Row& a, const Row& b) { return a.front().text < b.front().text; });
}

void Table::Print(Context& context, bool always_with_header) const {
  const bool with_header =
      always_with_header || context.print_table_headers || context.out_is_terminal;
  std::vector<Row> all;
  if (with_header) {
    for (const std::string& header : headers) {
      if (all.empty()) all.emplace_back();
      all.back().emplace_back(header, style::kBold);
    }
  }
  all.insert(all.end(), rows.begin(), rows.end());
  std::vector<std::size_t> widths;
  for (const Row& row : all) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], row[i].text.size());
  }
  for (const Row& row : all) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += Paint(row[i].style, row[i].text, context.colours);
      line.append(widths[i] - row[i].text.size(), ' ');
      if (i + 1 < widths.size()) line += "  ";
    }
    context.out << line << '\n';
  }
}

}  // namespace pinion::cli
