#include <cstdlib>
#include <fstream>
#include <map>
#include <set>

#include "api/test_api.h"
#include "base/text.h"

namespace pinion::api {
namespace {

/// One line of the table of upstream's routes.
struct UpstreamRoute {
  std::string method;
  std::string path;
  std::string permission;
  bool refuses_archived = false;
};

/// The table lies beside the project, not in it.
std::string TablePath() {
  const char* path = std::getenv("PINION_UPSTREAM_ROUTES");
  return path ? path : PINION_SOURCE_DIR "/../shared/facts/upstream/routes.tsv";
}

std::map<std::string, UpstreamRoute> ReadTable(std::ifstream& file) {
  std::map<std::string, UpstreamRoute> routes;
  std::string line;
  while (std::getline(file, line)) {
    const auto cells = Split(line, '\t');
    if (cells.size() < 10 || cells[0] != "api") continue;
    routes[std::string(cells[1])] = {.method = std::string(cells[2]),
                                     .path = std::string(cells[3]),
                                     .permission = std::string(cells[5]),
                                     .refuses_archived = cells[9].starts_with("yes")};
  }
  return routes;
}

std::string_view UpstreamName(Permission permission) {
  switch (permission) {
    case Permission::kPublic:
      return "public (token validated if sent)";
    case Permission::kAuthenticated:
      return "authenticated";
    case Permission::kTeamRole:
      return "team role";
    case Permission::kPipelinePublic:
      return "pipeline-public or team role";
    case Permission::kBuildRead:
      return "build-read (pipeline public)";
    case Permission::kBuildReadJob:
      return "build-read (pipeline AND job public)";
    case Permission::kBuildWrite:
      return "build-write (team role)";
    case Permission::kAnyTeamRole:
      return "any team role | admin";
    case Permission::kAdmin:
      return "admin";
    case Permission::kSystem:
      return "system";
    case Permission::kWorkerTeam:
      return "worker-team (system | admin | owning team role)";
    case Permission::kOpen:
      break;
  }
  return "open";
}

TEST(RoutesTest, AreUpstreams) {
  std::ifstream file(TablePath());
  if (!file) GTEST_SKIP() << "the table of upstream's routes is not at " << TablePath();
  const auto upstream = ReadTable(file);
  ASSERT_GT(upstream.size(), 100U);
  std::set<std::string> ours;
  for (const Route& route : Routes()) {
    if (route.permission == Permission::kOpen) continue;
    const std::string name(route.name);
    EXPECT_TRUE(ours.insert(name).second) << name << " is listed twice";
    const auto found = upstream.find(name);
    if (found == upstream.end()) {
      ADD_FAILURE() << name << " is no route of upstream's";
      continue;
    }
    EXPECT_EQ(found->second.method, route.method) << name;
    EXPECT_EQ(found->second.path, route.path) << name;
    EXPECT_EQ(found->second.permission, UpstreamName(route.permission)) << name;
    EXPECT_EQ(found->second.refuses_archived, route.refuses_archived) << name;
  }
  for (const auto& [name, route] : upstream) EXPECT_TRUE(ours.contains(name)) << name;
}

TEST(RoutesTest, HaveAHandlerOrAReason) {
  for (const Route& route : Routes()) {
    EXPECT_EQ(route.handler == nullptr, !route.not_yet.empty()) << route.name;
    EXPECT_NE(route.not_yet, "TODO") << route.name;
  }
}

class PermissionTest : public ApiTest {
 protected:
  static std::string Concrete(std::string_view pattern, const std::string& team) {
    std::string path;
    for (const auto part : Split(pattern.substr(1), '/')) {
      path += '/';
      if (part == ":team_name") {
        path += team;
      } else if (part == ":build_id") {
        path += std::to_string(kBuild);
      } else if (part.starts_with(":")) {
        path += "p";
      } else {
        path += part;
      }
    }
    return path;
  }
  static constexpr std::int64_t kBuild = 1;
};
PINION_FOR_EACH_DATABASE(PermissionTest);

}  // namespace
}  // namespace pinion::api
