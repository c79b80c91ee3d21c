#include "store/components_table.h"

#include <gtest/gtest.h>

#include "store/testing.h"

namespace pinion::store {
namespace {

using namespace std::chrono_literals;

class ComponentsTableTest : public testing::DatabaseTest {};
PINION_FOR_EACH_DATABASE(ComponentsTableTest);

TEST_P(ComponentsTableTest, RegisteringAgainKeepsPausedAndLastRun) {
  Write([](Transaction& t) {
    RegisterComponent(t, {.name = "scanner", .role = "backend", .interval = 1min});
    RegisterComponent(t, {.name = "api", .role = "api", .pausable = false});
    EXPECT_TRUE(SetComponentPaused(t, "scanner", true));
    EXPECT_FALSE(SetComponentPaused(t, "scaner", true));
    RecordComponentRuns(t, {});
    RecordComponentRuns(t, {{"scanner", 1234, 1500us, "no worker"}, {"unknown", 1, 1us, {}}});
    RegisterComponent(t, {.name = "scanner", .role = "web", .interval = 2min});
  });
  const auto row = Read([](Transaction& t) { return FindComponent(t, "scanner"); });
  ASSERT_TRUE(row);
  EXPECT_EQ(row->role, "web");
  EXPECT_EQ(row->interval, 2min);
  EXPECT_TRUE(row->paused);
  EXPECT_EQ(row->last_ran, 1234);
  EXPECT_EQ(row->last_duration, 1500us);
  EXPECT_EQ(row->last_error, "no worker");
  Write([](Transaction& t) {
    SetAllComponentsPaused(t, false);
    SetAllComponentsPaused(t, true);
    RecordComponentRuns(t, {{"scanner", 1235, 1s, std::nullopt}});
    EXPECT_TRUE(t.has_changes());
  });
  const auto rows = Read([](Transaction& t) { return ListComponents(t); });
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].name, "api");
  EXPECT_FALSE(rows[0].paused) << "it cannot be";
  EXPECT_FALSE(rows[0].last_ran);
  EXPECT_EQ(rows[1].last_error, std::nullopt);
}

TEST_P(ComponentsTableTest, OneNodeClaimsEachInterval) {
  Write([](Transaction& t) {
    RegisterComponent(t, {.name = "collector", .role = "backend", .interval = 1min});
    EXPECT_TRUE(ClaimComponentRun(t, "collector", 1min));
    EXPECT_FALSE(ClaimComponentRun(t, "collector", 1min));
    t.Execute("update components set last_ran = last_ran - 60");
    EXPECT_TRUE(ClaimComponentRun(t, "collector", 1min));
    // A clock that was wrong once must not stop it for years.
    t.Execute("update components set last_ran = last_ran + 1000000");
    EXPECT_TRUE(ClaimComponentRun(t, "collector", 1min));
  });
}

}  // namespace
}  // namespace pinion::store
