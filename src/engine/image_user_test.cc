#include "engine/image_user.h"

#include <gtest/gtest.h>

namespace pinion::engine {
namespace {

constexpr std::string_view kPasswd = "root:x:0:0:root:/root:/bin/sh\nbroken\nci:x:1000:100::/:\n";
constexpr std::string_view kGroup = "root:x:0:\ndocker:x:999:ci\n";

std::optional<UserIds> Find(std::string_view user) {
  return FindUserIds(user, kPasswd, kGroup);
}

TEST(ImageUserTest, NamesAreLookedUp) {
  EXPECT_EQ(Find("ci"), (UserIds{1000, 100}));
  EXPECT_EQ(Find("ci:docker"), (UserIds{1000, 999}));
  EXPECT_EQ(Find("root"), (UserIds{0, 0}));
  EXPECT_EQ(Find("nobody"), std::nullopt);
  EXPECT_EQ(Find("ci:nobody"), std::nullopt);
}

TEST(ImageUserTest, NumbersNeedNoEntry) {
  EXPECT_EQ(Find("1000"), (UserIds{1000, 100}));
  EXPECT_EQ(Find("7"), (UserIds{7, 0}));
  EXPECT_EQ(Find("7:8"), (UserIds{7, 8}));
  EXPECT_EQ(Find("7:docker"), (UserIds{7, 999}));
  EXPECT_EQ(Find(""), std::nullopt);
  EXPECT_EQ(Find("-1"), std::nullopt);
}

}  // namespace
}  // namespace pinion::engine
