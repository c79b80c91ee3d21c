#include "pipeline/diff.h"

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "base/text.h"
#include "pipeline/format.h"
#include "pipeline/yaml.h"

namespace pinion::pipeline {
namespace {

constexpr std::size_t kMostCompared = 2'000;
constexpr std::string_view kGreen = "\x1b[0;32m";
constexpr std::string_view kRed = "\x1b[0;31m";
constexpr std::string_view kYellow = "\x1b[0;33m";

/// A named part in its normal form; the name is empty for parts there is only one of.
struct Part {
  std::string name;
  Json json;
};

class DiffWriter {
 public:
  explicit DiffWriter(Colour colour) : colour_(colour) {}

  void Heading(std::string_view section) { out_.append(section).append(":\n"); }

  void Change(std::string_view label, const Json* before, const Json* after) {
    const std::string_view verb = before && after ? " has changed:"
                                  : before        ? " has been removed:"
                                                  : " has been added:";
    out_ += "  " + Coloured(std::string(label) + std::string(verb), kYellow) + "\n";
    Lines(before ? EmitYaml(*before) : "", after ? EmitYaml(*after) : "");
  }

  std::string Take() { return std::move(out_); }

 private:
  std::string Coloured(std::string text, std::string_view code) const {
    if (colour_ == Colour::kNone) return text;
    return std::string(code) + text + "\x1b[0m";
  }

  void Common(std::string_view line) { out_.append("  ").append(line).append("\n"); }

  void Marked(std::string_view mark, std::string_view line, std::string_view code) {
    // The marks stand in the margin: two steps back over the indentation.
    out_ += "  \b\b" + Coloured(std::string(mark), code) + " " + Coloured(std::string(line), code) +
            "\n";
  }

  void Lines(const std::string& before, const std::string& after) {
    auto left = Split(before, '\n');
    auto right = Split(after, '\n');
    std::size_t start = 0;
    while (start < left.size() && start < right.size() && left[start] == right[start]) {
      Common(left[start++]);
    }
    std::size_t end = 0;
    while (left.size() > start + end + 1 && right.size() > start + end + 1 &&
           left[left.size() - 1 - end] == right[right.size() - 1 - end]) {
      ++end;
    }
    const std::vector<std::string_view> tail(left.end() - static_cast<std::ptrdiff_t>(end),
                                             left.end());
    left = {left.begin() + static_cast<std::ptrdiff_t>(start),
            left.end() - static_cast<std::ptrdiff_t>(end)};
    right = {right.begin() + static_cast<std::ptrdiff_t>(start),
             right.end() - static_cast<std::ptrdiff_t>(end)};
    Middle(left, right);
    for (const std::string_view line : tail)
      Common(line);
  }

  void Middle(const std::vector<std::string_view>& left,
              const std::vector<std::string_view>& right) {
    if (left.size() > kMostCompared || right.size() > kMostCompared) {
      for (const std::string_view line : left)
        Marked("-", line, kRed);
      for (const std::string_view line : right)
        Marked("+", line, kGreen);
      return;
    }
    // Lengths of the longest common subsequences of all pairs of tails.
    const std::size_t width = right.size() + 1;
    std::vector<std::uint16_t> common((left.size() + 1) * width, 0);
    for (std::size_t i = left.size(); i-- > 0;) {
      for (std::size_t j = right.size(); j-- > 0;) {
        common[i * width + j] =
            left[i] == right[j] ? static_cast<std::uint16_t>(common[(i + 1) * width + j + 1] + 1)
                                : std::max(common[(i + 1) * width + j], common[i * width + j + 1]);
      }
    }
    std::size_t i = 0;
    std::size_t j = 0;
    while (i < left.size() || j < right.size()) {
      const std::uint16_t here = common[i * width + j];
      if (i < left.size() && common[(i + 1) * width + j] == here) {
        Marked("-", left[i++], kRed);
      } else if (j < right.size() && common[i * width + j + 1] == here) {
        Marked("+", right[j++], kGreen);
      } else {
        Common(left[i]);
        ++i;
        ++j;
      }
    }
  }

  const Colour colour_;
  std::string out_;
};

const Part* FindPart(const std::vector<Part>& parts, const std::string& name) {
  const auto found = std::ranges::find(parts, name, &Part::name);
  return found == parts.end() ? nullptr : &*found;
}

/// `ordered` tells moves too.
void DiffParts(DiffWriter& writer, std::string_view section, std::string_view label,
               const std::vector<Part>& before, const std::vector<Part>& after, bool ordered) {
  bool headed = false;
  const auto change = [&](const Part* old_part, const Part* new_part) {
    if (!headed) writer.Heading(section);
    headed = true;
    writer.Change(std::string(label) + " " + (old_part ? old_part : new_part)->name,
                  old_part ? &old_part->json : nullptr, new_part ? &new_part->json : nullptr);
  };
  for (const Part& part : before) {
    const Part* now = FindPart(after, part.name);
    if (!now || now->json != part.json) change(&part, now);
    if (ordered && now && &part - before.data() != now - after.data()) change(&part, now);
  }
  for (const Part& part : after) {
    if (!FindPart(before, part.name)) change(nullptr, &part);
  }
}

template <class Item>
std::vector<Part> Parts(const std::vector<Item>& items) {
  std::vector<Part> parts;
  for (const Item& item : items) {
    if constexpr (std::is_same_v<Item, protocol::ResourceType>) {
      parts.push_back({item.name, ResourceTypeToJson(item)});
    } else {
      parts.push_back({item.name, ToJson(item)});
    }
  }
  return parts;
}

void DiffOne(DiffWriter& writer, std::string_view label, const Json& before, const Json& after) {
  if (before == after) return;
  writer.Change(label, before.IsNull() ? nullptr : &before, after.IsNull() ? nullptr : &after);
}

}  // namespace

std::string DiffText(const Pipeline& before, const Pipeline& after, Colour colour) {
  DiffWriter writer(colour);
  DiffParts(writer, "groups", "group", Parts(before.groups), Parts(after.groups), true);
  DiffParts(writer, "variable source", "variable source", Parts(before.var_sources),
            Parts(after.var_sources), false);
  DiffParts(writer, "resources", "resource", Parts(before.resources), Parts(after.resources),
            false);
  DiffParts(writer, "resource types", "resource type", Parts(before.resource_types),
            Parts(after.resource_types), false);
  DiffParts(writer, "prototypes", "prototype", Parts(before.prototypes), Parts(after.prototypes),
            false);
  DiffParts(writer, "jobs", "job", Parts(before.jobs), Parts(after.jobs), false);
  DiffOne(writer, "display configuration", before.display ? ToJson(*before.display) : Json(),
          after.display ? ToJson(*after.display) : Json());
  DiffOne(writer, "user_data", before.user_data, after.user_data);
  return writer.Take();
}

}  // namespace pinion::pipeline
