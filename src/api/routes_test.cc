#include <cstdlib>
#include <filesystem>
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

/// The table lies beside the project, not in it: where PINION_UPSTREAM_FACTS says, or in a folder
/// shared/facts/upstream beside the source tree or one of the folders that hold it.
std::string TablePath() {
  namespace fs = std::filesystem;
  if (const char* folder = std::getenv("PINION_UPSTREAM_FACTS")) {
    return std::string(folder) + "/routes.tsv";
  }
  for (fs::path at = PINION_SOURCE_DIR; at.has_relative_path(); at = at.parent_path()) {
    const fs::path path = at.parent_path() / "shared/facts/upstream/routes.tsv";
    if (fs::exists(path)) return path;
  }
  return "shared/facts/upstream/routes.tsv";
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
  for (const auto& [name, route] : upstream)
    EXPECT_TRUE(ours.contains(name)) << name;
}

TEST(RoutesTest, HaveAHandlerOrAReason) {
  for (const Route& route : Routes()) {
    EXPECT_EQ(route.handler == nullptr, !route.not_yet.empty()) << route.name;
    EXPECT_NE(route.not_yet, "TODO") << route.name;
  }
}

constexpr const char* kPipeline = R"(
resources:
- {name: p, type: mock, source: {}}
resource_types:
- {name: t, type: mock, source: {}}
jobs:
- name: p
  plan: [{get: p}]
)";

/// A path of the route with every parameter filled in.
std::string Concrete(std::string_view pattern, const std::string& build) {
  std::string path;
  for (const auto part : Split(pattern.substr(1), '/')) {
    path += '/';
    if (part == ":team_name") {
      path += "main";
    } else if (part == ":build_id") {
      path += build;
    } else if (part == ":build_name" || part == ":resource_config_version_id") {
      path += "1";
    } else if (part == ":resource_type_name") {
      path += "t";
    } else {
      path += part.starts_with(":") ? "p" : std::string(part);
    }
  }
  return path;
}

class PermissionTest : public ApiTest {
 protected:
  void SetUp() override {
    ApiTest::SetUp();
    if (IsSkipped()) return;
    ASSERT_EQ(SetPipeline("p", kPipeline).status, 201);
    const Json build = Ask(200, "POST", "/api/v1/teams/main/pipelines/p/jobs/p/builds", "test");
    build_ = std::to_string(build.IntegerAt("id"));
    Ask(200, "POST", "/api/v1/workers", "system",
        R"({"name":"p","addr":"127.0.0.1:1","team":"main","platform":"linux","version":"2.5"})");
  }
  int StatusFor(const Route& route, const std::string& user) {
    return Send(std::string(route.method), Concrete(route.path, build_), user).status;
  }
  std::string build_;
};
PINION_FOR_EACH_DATABASE(PermissionTest);

TEST_P(PermissionTest, DeniesThoseWithoutAToken) {
  for (const Route& route : Routes()) {
    if (route.permission == Permission::kOpen || route.permission == Permission::kPublic) continue;
    EXPECT_EQ(StatusFor(route, ""), 401) << route.name;
  }
}

TEST_P(PermissionTest, DeniesOtherTeams) {
  for (const Route& route : Routes()) {
    switch (route.permission) {
      case Permission::kTeamRole:
      case Permission::kPipelinePublic:
      case Permission::kBuildRead:
      case Permission::kBuildReadJob:
      case Permission::kBuildWrite:
      case Permission::kAdmin:
      case Permission::kSystem:
      case Permission::kWorkerTeam:
        EXPECT_EQ(StatusFor(route, "other"), 403) << route.name;
        break;
      default:
        break;
    }
  }
}

TEST_P(PermissionTest, DeniesLowerRoles) {
  const std::pair<identity::Role, std::string> kBelow[] = {
      {identity::Role::kPipelineOperator, "viewer"},
      {identity::Role::kMember, "operator"},
      {identity::Role::kOwner, "member"}};
  int checked = 0;
  for (const Route& route : Routes()) {
    if (route.permission == Permission::kPublic) continue;
    for (const auto& [minimum, user] : kBelow) {
      if (route.minimum != minimum) continue;
      EXPECT_EQ(StatusFor(route, user), 403) << route.name << " as " << user;
      ++checked;
    }
    if (route.permission == Permission::kAdmin || route.permission == Permission::kSystem) {
      EXPECT_EQ(StatusFor(route, "member"), 403) << route.name;
      ++checked;
    }
  }
  EXPECT_GT(checked, 40);
}

TEST_P(PermissionTest, DeniesAdminsWhereOnlyGatewaysMay) {
  for (const Route& route : Routes()) {
    if (route.permission != Permission::kSystem) continue;
    EXPECT_EQ(StatusFor(route, "test"), 403) << route.name;
    EXPECT_NE(StatusFor(route, "system"), 403) << route.name;
  }
}

TEST_P(PermissionTest, LetsThoseInWhoMay) {
  for (const Route& route : Routes()) {
    // What changes nothing, with a role that is just enough.
    if (route.method != "GET" || !route.handler || route.permission == Permission::kOpen) continue;
    if (route.name == "BuildEvents") continue;
    const std::string user = route.permission == Permission::kAdmin        ? "test"
                             : route.permission == Permission::kWorkerTeam ? "system"
                             : route.minimum == identity::Role::kMember    ? "member"
                                                                           : "viewer";
    const int status = StatusFor(route, user);
    EXPECT_NE(status, 401) << route.name;
    EXPECT_NE(status, 403) << route.name;
    // Upstream's answer for what has not been checked yet.
    const bool unchecked = route.name.starts_with("ListSharedForResource");
    EXPECT_EQ(status == 500, unchecked) << route.name;
  }
}

TEST_P(PermissionTest, ShowsPublicPipelinesToEverybody) {
  const std::string base = "/api/v1/teams/main/pipelines/p";
  EXPECT_EQ(Send("GET", base).status, 401);
  Ask(200, "PUT", base + "/expose", "test");
  EXPECT_EQ(Send("GET", base).status, 200);
  EXPECT_EQ(Send("GET", base + "/jobs", "other").status, 200);
  EXPECT_EQ(Send("GET", "/api/v1/builds/" + build_).status, 200);
  // Plans and logs need a public job too.
  EXPECT_EQ(Send("GET", "/api/v1/builds/" + build_ + "/preparation").status, 401);
  EXPECT_EQ(Ask(200, "GET", "/api/v1/pipelines").AsArray().size(), 1U);
  EXPECT_EQ(Ask(200, "GET", "/api/v1/jobs").AsArray().size(), 1U);
  EXPECT_EQ(Ask(200, "GET", "/api/v1/builds").AsArray().size(), 1U);
  EXPECT_EQ(Send("GET", base + "/config").status, 401);
  Ask(200, "PUT", base + "/hide", "test");
  EXPECT_TRUE(Ask(200, "GET", "/api/v1/pipelines").AsArray().empty());
  EXPECT_TRUE(Ask(200, "GET", "/api/v1/jobs").AsArray().empty());
  EXPECT_TRUE(Ask(200, "GET", "/api/v1/builds", "other").AsArray().empty());
  EXPECT_EQ(Ask(200, "GET", "/api/v1/builds", "viewer").AsArray().size(), 1U);
}

TEST_P(PermissionTest, AnswersUnknownPathsAndMethods) {
  EXPECT_EQ(Send("GET", "/api/v1/nothing").status, 404);
  const auto wrong = Send("DELETE", "/api/v1/info");
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(wrong.headers.Get("Allow"), "GET");
}

}  // namespace
}  // namespace pinion::api
