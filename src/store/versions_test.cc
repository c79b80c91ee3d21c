#include "store/versions.h"

#include <gtest/gtest.h>

#include "store/builds.h"
#include "store/resources.h"
#include "store/scheduling_testing.h"
#include "store/scopes.h"
#include "store/testing.h"

namespace pinion::store {
namespace {

using namespace testing;  // NOLINT

class VersionsTest : public DatabaseTest {
 protected:
  void SetUp() override {
    DatabaseTest::SetUp();
    if (IsSkipped()) return;
    Write([&](Transaction& t) {
      team_ = AddTeam(t);
      pipeline_ = AddPipeline(t, team_);
      resource_ = AddResource(t, pipeline_, "r");
      scope_ = ScopeOf(t, resource_);
    });
  }

  int Save(const std::vector<std::string>& names) {
    std::vector<protocol::Version> versions;
    for (const auto& name : names)
      versions.push_back({{"v", name}});
    return Write([&](Transaction& t) { return SaveVersions(t, scope_, versions); });
  }
  std::string Order() {  // newest first
    std::string names;
    for (const VersionRow& row :
         Read([&](Transaction& t) { return ListVersions(t, resource_, {}).versions; })) {
      names += ParseVersion(row.version).at("v");
    }
    return names;
  }
  std::int64_t Changes(std::string_view kind) {
    return Read([&](Transaction& t) {
      return t.QueryOne("select count(*) from changes where kind = $1", {kind})->Integer(0);
    });
  }
  VersionId Named(const std::string& name) {
    return Read([&](Transaction& t) { return VersionNamed(t, resource_, name); });
  }

  TeamId team_;
  PipelineId pipeline_;
  ResourceId resource_;
  ScopeId scope_;
};
PINION_FOR_EACH_DATABASE(VersionsTest);

TEST_P(VersionsTest, ListedVersionsMoveToTheEndOnlyWhenOneIsNew) {
  EXPECT_EQ(Save({"a", "b", "c"}), 3);
  EXPECT_EQ(Order(), "cba");
  EXPECT_EQ(Save({"c"}), 0);
  EXPECT_EQ(Save({"a", "b"}), 0);
  EXPECT_EQ(Order(), "cba");
  EXPECT_EQ(Changes("version.saved"), 1);
  EXPECT_EQ(Save({"b", "x", "c"}), 1);  // a check from an older version
  EXPECT_EQ(Order(), "cxba");
  EXPECT_EQ(Save({"y", "y"}), 1);
  EXPECT_EQ(Order(), "ycxba");
  EXPECT_THROW(Write([&](Transaction& t) { return SaveVersions(t, scope_, {{}}); }), Failure);
}

TEST_P(VersionsTest, APutMakesANewVersionTheNewestAndLeavesAKnownOneInItsPlace) {
  Save({"a", "b"});
  Write([&](Transaction& t) { SaveVersion(t, scope_, {{"v", "p"}}, {{"by", "put"}}); });
  EXPECT_EQ(Order(), "pba");
  Write([&](Transaction& t) { SaveVersion(t, scope_, {{"v", "a"}}, {{"by", "put"}}); });
  EXPECT_EQ(Order(), "pba");
  EXPECT_EQ(Changes("version.saved"), 2);
  Read([&](Transaction& t) {
    EXPECT_EQ(FindVersion(t, resource_, VersionNamed(t, resource_, "a"))->metadata,
              R"([{"name":"by","value":"put"}])");
  });
}

TEST_P(VersionsTest, PagesFilterAndRunBothWays) {
  Save({"a", "b", "c", "d", "e"});
  const auto page = [&](VersionPage page) {
    return Read([&](Transaction& t) { return ListVersions(t, resource_, page); });
  };
  const auto names = [](const VersionList& list) {
    std::string text;
    for (const VersionRow& row : list.versions)
      text += ParseVersion(row.version).at("v");
    return text;
  };
  const VersionList newest = page({.limit = 2});
  EXPECT_EQ(names(newest), "ed");
  EXPECT_EQ(newest.newer, 0);
  EXPECT_EQ(newest.older, Named("c").value);
  const VersionList middle = page({.to = newest.older, .limit = 2});
  EXPECT_EQ(names(middle), "cb");
  EXPECT_EQ(middle.newer, Named("d").value);
  EXPECT_EQ(middle.older, Named("a").value);
  const VersionList back = page({.from = middle.newer, .limit = 2});
  EXPECT_EQ(names(back), "ed");
  EXPECT_EQ(back.newer, 0);
  EXPECT_EQ(names(page({.filter = {{"v", "b"}}})), "b");
  EXPECT_EQ(names(page({.filter = {{"other", "b"}}})), "");
}

TEST_P(VersionsTest, DisablingAndPinningAreTheResourcesOwn) {
  const ResourceId twin =
      Write([&](Transaction& t) { return AddResource(t, pipeline_, "twin", scope_); });
  Save({"a", "b"});
  const VersionId b = Named("b");
  EXPECT_TRUE(Write([&](Transaction& t) { return SetVersionEnabled(t, resource_, b, false); }));
  EXPECT_FALSE(Write([&](Transaction& t) { return SetVersionEnabled(t, resource_, b, false); }));
  Read([&](Transaction& t) {
    EXPECT_FALSE(FindVersion(t, resource_, b)->enabled);
    EXPECT_TRUE(FindVersion(t, twin, b)->enabled);
  });
  EXPECT_TRUE(Write([&](Transaction& t) { return SetVersionEnabled(t, resource_, b, true); }));
  EXPECT_THROW(Write([&](Transaction& t) { UnpinVersion(t, resource_); }), Failure);
  Write([&](Transaction& t) {
    PinVersion(t, resource_, b);
    SetPinComment(t, resource_, "because");
  });
  Read([&](Transaction& t) {
    EXPECT_EQ(FindResource(t, resource_)->pinned_version, R"({"v":"b"})");
    EXPECT_EQ(FindResource(t, resource_)->pin_comment, "because");
    EXPECT_FALSE(FindResource(t, twin)->pinned_version);
  });
  Write([&](Transaction& t) { SetConfigPin(t, resource_, std::nullopt); });
  EXPECT_TRUE(Read([&](Transaction& t) { return FindResource(t, resource_)->pinned_version; }));
  Write([&](Transaction& t) { SetConfigPin(t, resource_, protocol::Version{{"v", "a"}}); });
  EXPECT_THROW(Write([&](Transaction& t) { PinVersion(t, resource_, b); }), Failure);
  EXPECT_THROW(Write([&](Transaction& t) { UnpinVersion(t, resource_); }), Failure);
  Write([&](Transaction& t) { SetConfigPin(t, resource_, std::nullopt); });
  EXPECT_FALSE(Read([&](Transaction& t) { return FindResource(t, resource_)->pinned_version; }));
}

TEST_P(VersionsTest, PinsMatchByPart) {
  Write([&](Transaction& t) {
    SaveVersions(t, scope_,
                 {{{"v", "1"}, {"arch", "x"}}, {{"v", "1"}, {"arch", "y"}}, {{"v", "2"}}});
  });
  Read([&](Transaction& t) {
    EXPECT_EQ(FindPinned(t, resource_, {{"v", "1"}}),
              FindVersionIn(t, scope_, {{"v", "1"}, {"arch", "y"}})->id);
    EXPECT_FALSE(FindPinned(t, resource_, {{"v", "3"}}));
  });
}

TEST_P(VersionsTest, OneOfSeveralClaimsACheck) {
  const auto claim = [&](bool early) {
    return Write([&](Transaction& t) { return ClaimCheck(t, scope_, "node", 3600, early); });
  };
  EXPECT_TRUE(claim(false));
  EXPECT_FALSE(claim(false));
  EXPECT_FALSE(claim(true));
  Write([&](Transaction& t) { SaveCheck(t, scope_, {.succeeded = true, .next_in = 60}); });
  EXPECT_FALSE(claim(false));  // its interval has not passed
  EXPECT_TRUE(claim(true));
  Write([&](Transaction& t) {
    SaveCheck(t, scope_, {.succeeded = false, .error = std::string(10'000, 'x'), .next_in = 0});
  });
  EXPECT_EQ(Changes("scope.checked"), 1);  // it turned
  Read([&](Transaction& t) {
    EXPECT_EQ(FindScope(t, scope_)->last_check_error.size(), 4096U);
    EXPECT_EQ(FindScope(t, scope_)->last_check_succeeded, false);
  });
  EXPECT_TRUE(claim(false));
}

TEST_P(VersionsTest, WhatBuildsHadIsKnownAgainUnderAnotherSource) {
  Save({"a", "b"});
  const auto had = [&](BuildId build) {
    return Read([&](Transaction& t) {
      const auto inputs = ListBuildInputs(t, build);
      return FindVersion(t, resource_, inputs.at(0).version_id).has_value();
    });
  };
  const auto move = [&](const std::string& key) {
    scope_ = Write([&](Transaction& t) {
      const ScopeId scope = FindOrCreateScope(t, key, "mock");
      AttachResource(t, resource_, scope);
      return scope;
    });
  };
  const BuildId build = Write([&](Transaction& t) {
    const JobId job = AddJob(t, pipeline_, "job");
    const BuildId id = CreateJobBuild(t, job, {.created_by = {}, .manual = true, .rerun_of = {}});
    SaveBuildInput(t, id, "r", resource_, VersionNamed(t, resource_, "a"), true);
    SetVersionEnabled(t, resource_, VersionNamed(t, resource_, "a"), false);
    return id;
  });
  const auto enabled = [&] {
    return Read([&](Transaction& t) {
      return FindVersion(t, resource_, VersionNamed(t, resource_, "a"))->enabled;
    });
  };
  move("rotated");
  EXPECT_FALSE(had(build));
  Save({"b"});
  EXPECT_FALSE(had(build));
  Save({"a"});  // a later check lists it
  EXPECT_TRUE(had(build));
  EXPECT_FALSE(enabled());
  move("rotated again");
  Save({"c"});
  move("rotated");  // its versions are there at once
  EXPECT_TRUE(had(build));
  EXPECT_FALSE(enabled());
}

TEST_P(VersionsTest, ACheckFromScratchMovesWhatItListsInAnyCase) {
  Save({"a", "b", "c"});
  const auto save = [&](std::vector<protocol::Version> versions) {
    return Write([&](Transaction& t) { return SaveVersions(t, scope_, versions, true); });
  };
  EXPECT_EQ(save({{{"v", "a"}}, {{"v", "b"}}}), 0);
  EXPECT_EQ(Order(), "bac");
  EXPECT_EQ(save({}), 0);
  EXPECT_EQ(Order(), "bac");
}

TEST_P(VersionsTest, AScopesKeyDependsOnTheWholeChainAndNotOnTheOrderOfMembers) {
  const Json one = JsonObject{{"a", 1}, {"b", JsonObject{{"c", 2}, {"d", 3}}}};
  const Json same = JsonObject{{"b", JsonObject{{"d", 3}, {"c", 2}}}, {"a", 1}};
  EXPECT_EQ(ScopeKey({{"git", one, {}}}), ScopeKey({{"git", same, {}}}));
  EXPECT_NE(ScopeKey({{"git", one, {}}}), ScopeKey({{"time", one, {}}}));
  EXPECT_NE(ScopeKey({{"git", one, {}}}),
            ScopeKey({{"git", one, {}}, {"registry-image", one, {}}}));
  EXPECT_NE(ScopeKey({{"time", one, {}}}, ResourceId{1}),
            ScopeKey({{"time", one, {}}}, ResourceId{2}));
  const ScopeId first = Write([&](Transaction& t) { return FindOrCreateScope(t, "k", "git"); });
  EXPECT_EQ(Write([&](Transaction& t) { return FindOrCreateScope(t, "k", "git"); }), first);
  EXPECT_TRUE(Write([&](Transaction& t) { return AttachResource(t, resource_, first); }));
  EXPECT_FALSE(Write([&](Transaction& t) { return AttachResource(t, resource_, first); }));
  EXPECT_EQ(Write([&](Transaction& t) { return DeleteUnusedScopes(t, t.now() + 1); }), 1);
}

}  // namespace
}  // namespace pinion::store
