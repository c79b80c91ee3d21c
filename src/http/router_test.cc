#include "http/router.h"

#include <gtest/gtest.h>

namespace pinion::http {
namespace {

Router::Found FoundAt(const Router& router, std::string_view method, std::string_view path) {
  const auto match = router.Match(method, path);
  const auto* found = std::get_if<Router::Found>(&match);
  return found ? *found : Router::Found{999, {}};
}

TEST(RouterTest, DecodesParametersAfterTheMatch) {
  Router router;
  router.Add("GET", "/api/v1/teams/:team_name/pipelines/:pipeline_name", 1);
  const auto found = FoundAt(router, "GET", "/api/v1/teams/a%2Fb/pipelines/x%20y");
  EXPECT_EQ(found.route, 1U);
  EXPECT_EQ(found.params, (PathParams{{"team_name", "a/b"}, {"pipeline_name", "x y"}}));
  EXPECT_TRUE(
      std::holds_alternative<Router::NotFound>(router.Match("GET", "/api/v1/teams//pipelines/x")));
  EXPECT_TRUE(std::holds_alternative<Router::NotFound>(
      router.Match("GET", "/api/v1/teams/%zz/pipelines/x")));
  EXPECT_TRUE(std::holds_alternative<Router::NotFound>(
      router.Match("GET", "/api/v1/teams/a/pipelines/x/")));
}

TEST(RouterTest, TheFirstPatternAddedWins) {
  Router router;
  router.Add("GET", "/builds/:id", 1);
  router.Add("GET", "/builds/latest", 2);
  router.Add("GET", "/jobs/latest", 3);
  router.Add("GET", "/jobs/:id", 4);
  EXPECT_EQ(FoundAt(router, "GET", "/builds/latest").route, 1U);
  EXPECT_EQ(FoundAt(router, "GET", "/jobs/latest").route, 3U);
  EXPECT_EQ(FoundAt(router, "GET", "/jobs/7").route, 4U);
}

TEST(RouterTest, GoesBackWhenAFixedSegmentLeadsNowhere) {
  Router router;
  router.Add("GET", "/a/fixed/x", 1);
  router.Add("GET", "/a/:any/y", 2);
  EXPECT_EQ(FoundAt(router, "GET", "/a/fixed/y").route, 2U);
}

TEST(RouterTest, NamesTheMethodsOfAKnownPath) {
  Router router;
  router.Add("PUT", "/x/:id", 1);
  router.Add("DELETE", "/x/:name", 2);
  const auto match = router.Match("GET", "/x/1");
  const auto* wrong = std::get_if<Router::MethodNotAllowed>(&match);
  ASSERT_TRUE(wrong);
  EXPECT_EQ(wrong->allow, "DELETE, PUT");
  EXPECT_EQ(FoundAt(router, "DELETE", "/x/1").params, (PathParams{{"name", "1"}}));
}

TEST(RouterTest, AFinalStarTakesTheRest) {
  Router router;
  router.Add("GET", "/public/*", 1);
  router.Add("GET", "/*", 2);
  EXPECT_EQ(FoundAt(router, "GET", "/public/a/b%20c").params, (PathParams{{"*", "a/b c"}}));
  EXPECT_EQ(FoundAt(router, "GET", "/public/").route, 1U);
  EXPECT_EQ(FoundAt(router, "GET", "/public").route, 2U);
  EXPECT_EQ(FoundAt(router, "GET", "/").params, (PathParams{{"*", ""}}));
}

TEST(RouterTest, LongHostilePathsEndAtOnce) {
  Router router;
  router.Add("GET", "/:a/:b/:c", 1);
  router.Add("GET", "/x/:b/:c", 2);
  std::string path;
  for (int i = 0; i < 10'000; ++i)
    path += "/x";
  EXPECT_TRUE(std::holds_alternative<Router::NotFound>(router.Match("GET", path)));
}

}  // namespace
}  // namespace pinion::http
