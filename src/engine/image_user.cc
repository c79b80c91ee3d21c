#include "engine/image_user.h"

#include <charconv>
#include <string>
#include <vector>

#include "base/text.h"

namespace pinion::engine {
namespace {

std::optional<std::int64_t> Number(std::string_view text) {
  std::uint32_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, number);
  if (text.empty() || error != std::errc() || stopped != end) return std::nullopt;
  return number;
}

/// The fields of the line whose field `key` (0 name, 2 number) is that text.
std::vector<std::string> FindLine(std::string_view file, std::size_t key, std::string_view wanted) {
  for (const std::string_view line : Split(file, '\n')) {
    std::vector<std::string> fields;
    for (const std::string_view field : Split(line, ':'))
      fields.emplace_back(field);
    if (fields.size() >= 3 && fields[key] == wanted) return fields;
  }
  return {};
}

}  // namespace

std::optional<UserIds> FindUserIds(std::string_view user, std::string_view passwd,
                                   std::string_view group) {
  const std::size_t colon = user.find(':');
  const std::string_view name = user.substr(0, colon);
  UserIds ids;
  const std::optional<std::int64_t> uid = Number(name);
  const std::vector<std::string> line = FindLine(passwd, uid ? 2 : 0, name);
  if (uid) {
    ids.uid = *uid;
  } else if (const auto found = line.empty() ? std::nullopt : Number(line[2])) {
    ids.uid = *found;
  } else {
    return std::nullopt;
  }
  if (line.size() >= 4) ids.gid = Number(line[3]).value_or(0);
  if (colon == std::string_view::npos) return ids;
  const std::string_view group_name = user.substr(colon + 1);
  if (const auto gid = Number(group_name)) {
    ids.gid = *gid;
    return ids;
  }
  const std::vector<std::string> group_line = FindLine(group, 0, group_name);
  const auto gid = group_line.empty() ? std::nullopt : Number(group_line[2]);
  if (!gid) return std::nullopt;
  ids.gid = *gid;
  return ids;
}

}  // namespace pinion::engine
