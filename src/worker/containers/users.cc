#include "worker/containers/users.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/text.h"
#include "linux/files.h"
#include "worker/id_mapping.h"

namespace pinion::worker {
namespace {

constexpr std::size_t kFileBytesMax = 8 << 20;

std::optional<std::uint32_t> Number(std::string_view text) {
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

struct PasswdLine {
  std::string_view name;
  std::uint32_t uid;
  std::uint32_t gid;
  std::string_view home;
};

std::optional<PasswdLine> FindPasswd(std::string_view file, std::string_view user) {
  const std::optional<std::uint32_t> number = Number(user);
  for (const std::string_view line : Split(file, '\n')) {
    const auto fields = Split(line, ':');
    if (fields.size() < 6) continue;
    const auto uid = Number(fields[2]);
    const auto gid = Number(fields[3]);
    if (!uid || !gid) continue;
    if (fields[0] == user || (number && *uid == *number)) {
      return PasswdLine{fields[0], *uid, *gid, fields[5]};
    }
  }
  return std::nullopt;
}

std::optional<std::uint32_t> FindGroup(std::string_view file, std::string_view group) {
  for (const std::string_view line : Split(file, '\n')) {
    const auto fields = Split(line, ':');
    if (fields.size() >= 3 && fields[0] == group) return Number(fields[2]);
  }
  return Number(group);
}

std::vector<std::uint32_t> GroupsOf(std::string_view file, std::string_view name) {
  std::vector<std::uint32_t> groups;
  for (const std::string_view line : Split(file, '\n')) {
    const auto fields = Split(line, ':');
    if (fields.size() < 4 || groups.size() >= 256) continue;
    const auto members = Split(fields[3], ',');
    const auto gid = Number(fields[2]);
    if (gid && std::ranges::find(members, name) != members.end()) groups.push_back(*gid);
  }
  return groups;
}

}  // namespace

Result<ContainerUser> FindUser(const std::filesystem::path& rootfs, const std::string& user) {
  ContainerUser found;
  const std::size_t colon = user.find(':');
  const std::string name = user.substr(0, colon);
  const std::string group = colon == std::string::npos ? "" : user.substr(colon + 1);
  const std::string passwd =
      linux::ReadFileInRoot(rootfs, "/etc/passwd", kFileBytesMax).value_or("");
  const std::string groups =
      linux::ReadFileInRoot(rootfs, "/etc/group", kFileBytesMax).value_or("");

  const bool root = name.empty() || name == "root";
  if (const auto line = FindPasswd(passwd, root ? "root" : name)) {
    found.uid = line->uid;
    found.gid = line->gid;
    if (!line->home.empty()) found.home = line->home;
    if (group.empty()) found.groups = GroupsOf(groups, line->name);
  } else if (const auto number = Number(name)) {
    found.uid = *number;
  } else if (root) {
    found.home = "/root";
  } else {
    return Fail(ErrorKind::kNotFound,
                "user \"" + name + "\" not found: no such entry in /etc/passwd of the image");
  }
  if (!group.empty()) {
    const auto gid = FindGroup(groups, group);
    if (!gid) {
      return Fail(ErrorKind::kNotFound,
                  "group \"" + group + "\" not found: no such entry in /etc/group of the image");
    }
    found.gid = *gid;
  }
  if (found.uid >= kIdCount || found.gid >= kIdCount) {
    return Fail(ErrorKind::kInvalid, "user \"" + user + "\": ids must be below " +
                                         std::to_string(kIdCount) + " in a container");
  }
  return found;
}

}  // namespace pinion::worker
