#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "async/timers.h"
#include "base/encoding.h"
#include "identity/access.h"
#include "identity/attempts.h"
#include "identity/password.h"

namespace pinion::identity {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

const std::string kKey(32, 'k');
constexpr std::int64_t kNow = 1'700'000'000;

Claims SomeClaims() {
  Claims claims;
  claims.sub = "sub";
  claims.audience = "fly";
  claims.token_id = "id";
  claims.issued = kNow;
  claims.expires = kNow + 3600;
  claims.name = "Ada";
  claims.preferred_username = "ada";
  claims.user_id = "ada";
  claims.connector = "local";
  return claims;
}

TEST(Password, IsCheckedAgainstItsHash) {
  const std::string hash = HashPassword("secret");
  EXPECT_TRUE(IsPasswordHash(hash));
  EXPECT_TRUE(CheckPassword("secret", hash));
  EXPECT_FALSE(CheckPassword("Secret", hash));
  EXPECT_FALSE(CheckPassword("", hash));
  EXPECT_NE(hash, HashPassword("secret")) << "each hash has its own salt";
}

TEST(Password, RefusesWhatBcryptWouldCutOff) {
  const std::string hash = HashPassword(std::string(72, 'a'));
  EXPECT_TRUE(CheckPassword(std::string(72, 'a'), hash));
  EXPECT_FALSE(CheckPassword(std::string(73, 'a'), hash));
  EXPECT_FALSE(CheckPassword(std::string("secret\0x", 8), HashPassword("secret")));
}

TEST(Password, OtherHashesNeverMatch) {
  EXPECT_FALSE(CheckPassword("x", ""));
  EXPECT_FALSE(CheckPassword("x", "x"));
  EXPECT_FALSE(CheckPassword("x", "$6$salt$hash"));
}

TEST(LocalUsers, TakesPlainPasswordsAndHashes) {
  LocalUsers users;
  ASSERT_TRUE(users.Add("ada:secret"));
  ASSERT_TRUE(users.Add("bob:" + HashPassword("pa:ss")));
  EXPECT_TRUE(users.Check("ada", "secret"));
  EXPECT_TRUE(users.Check("bob", "pa:ss"));
  EXPECT_FALSE(users.Check("ada", "pa:ss"));
  EXPECT_FALSE(users.Check("eve", "secret"));
  EXPECT_THAT(users.Names(), ElementsAre("ada", "bob"));
}

TEST(LocalUsers, ErrorsDoNotShowThePassword) {
  LocalUsers users;
  const auto result = users.Add("ada:" + std::string(100, 'p'));
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("ada"));
  EXPECT_THAT(result.error().message, Not(HasSubstr("ppp")));
  EXPECT_FALSE(users.Add("ada"));
  EXPECT_FALSE(users.Add(":x"));
  EXPECT_FALSE(users.Add("ada:"));
}

TEST(Token, ComesBackAsSigned) {
  const TokenSigner signer(kKey);
  const auto claims = signer.Verify(signer.Sign(SomeClaims()), kNow, {"fly"});
  ASSERT_TRUE(claims) << claims.error().message;
  EXPECT_EQ(claims->preferred_username, "ada");
  EXPECT_EQ(claims->expires, kNow + 3600);
}

TEST(Token, IsRefusedWhenExpiredOrNotYetOrForAnother) {
  const TokenSigner signer(kKey);
  const std::string token = signer.Sign(SomeClaims());
  EXPECT_FALSE(signer.Verify(token, kNow + 3600, {"fly"}));
  EXPECT_FALSE(signer.Verify(token, kNow - 61, {"fly"}));
  EXPECT_FALSE(signer.Verify(token, kNow, {"concourse-web"}));
  EXPECT_FALSE(signer.Verify(token, kNow, {}));
}

TEST(Token, IsRefusedWhenForged) {
  const TokenSigner signer(kKey);
  const std::string token = signer.Sign(SomeClaims());
  EXPECT_FALSE(TokenSigner(std::string(32, 'x')).Verify(token, kNow, {"fly"}));
  for (std::size_t at = 0; at < token.size(); at += 7) {
    std::string changed = token;
    changed[at] = changed[at] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(signer.Verify(changed, kNow, {"fly"})) << at;
  }
  EXPECT_FALSE(signer.Verify("", kNow, {"fly"}));
  EXPECT_FALSE(signer.Verify("..", kNow, {"fly"}));
  EXPECT_FALSE(signer.Verify(std::string(100'000, 'a'), kNow, {"fly"}));
}

TEST(Token, OfAlgorithmNoneIsRefused) {
  const TokenSigner signer(kKey);
  const std::string body = ToBase64Url(ToText(ToJson(SomeClaims())));
  for (const char* algorithm : {"none", "None", "HS512", "RS256", ""}) {
    const std::string head =
        ToBase64Url(std::string(R"({"alg":")") + algorithm + R"(","typ":"JWT"})");
    EXPECT_FALSE(signer.Verify(head + "." + body + ".", kNow, {"fly"})) << algorithm;
    // Even under our own key another algorithm is no good.
    const std::string signed_text = head + "." + body;
    const std::string mac = ToBase64Url(HmacSha256(HmacSha256(kKey, "token"), signed_text));
    EXPECT_FALSE(signer.Verify(signed_text + "." + mac, kNow, {"fly"})) << algorithm;
  }
}

TEST(Token, SealedTextIsBoundToItsPurpose) {
  const TokenSigner signer(kKey);
  const std::string sealed = signer.Seal("login", "/a");
  EXPECT_EQ(signer.Unseal("login", sealed), "/a");
  EXPECT_FALSE(signer.Unseal("token", sealed));
  EXPECT_FALSE(signer.Unseal("login", sealed + "x"));
  EXPECT_FALSE(signer.Unseal("login", "x"));
}

TEST(Roles, FollowUpstreamsMatching) {
  const Person ada{.connector = "local", .user_id = "1", .username = "Ada", .groups = {"Dev:Core"}};
  EXPECT_THAT(RolesOf(ada, {{"owner", {.users = {"local:ada"}}}}), ElementsAre("owner"));
  EXPECT_THAT(RolesOf(ada, {{"viewer", {.users = {"LOCAL:1"}}}}), ElementsAre("viewer"));
  EXPECT_THAT(RolesOf(ada, {{"member", {.groups = {"local:dev:core"}}}}), ElementsAre("member"));
  EXPECT_THAT(RolesOf(ada, {{"member", {}}}), ElementsAre("member"));
  EXPECT_THAT(RolesOf(ada, {{"owner", {.users = {"github:ada"}}}}), ElementsAre());
  EXPECT_THAT(RolesOf(ada, {{"owner", {.groups = {"local:ada"}}}}), ElementsAre());
  const Person cf{.connector = "CloudFoundry", .user_id = "u"};
  EXPECT_THAT(RolesOf(cf, {{"owner", {.users = {"cf:u"}}}}), ElementsAre("owner"));
}

TEST(Roles, OfAnAuthThatIsEmptyOrUnknownAreRefused) {
  EXPECT_FALSE(CheckTeamAuth({}));
  EXPECT_FALSE(CheckTeamAuth({{"owner", {}}}));
  EXPECT_FALSE(CheckTeamAuth({{"king", {.users = {"local:a"}}}}));
  EXPECT_TRUE(CheckTeamAuth({{"owner", {.users = {"local:a"}}}}));
}

TEST(Access, IncludesLowerRolesAndAdminsEverywhere) {
  const std::vector<TeamRecord> teams = {
      {TeamId{1}, "main", true, {{"owner", {.users = {"local:root"}}}}},
      {TeamId{2}, "web", false, {{"member", {.users = {"local:ada"}}}}},
  };
  const Access ada = AccessOf(SomeClaims(), teams);
  EXPECT_TRUE(ada.MayIn("web", Role::kViewer));
  EXPECT_TRUE(ada.MayIn("web", Role::kMember));
  EXPECT_FALSE(ada.MayIn("web", Role::kOwner));
  EXPECT_FALSE(ada.MayIn("main", Role::kViewer));
  EXPECT_FALSE(ada.admin);

  Claims claims = SomeClaims();
  claims.preferred_username = "root";
  const Access root = AccessOf(claims, teams);
  EXPECT_TRUE(root.admin);
  EXPECT_TRUE(root.MayIn("web", Role::kOwner));
  EXPECT_FALSE(AnonymousAccess().MayInAnyTeam(Role::kViewer));
}

TEST(Access, GatewaysAreNobodyInTeams) {
  Claims claims = SomeClaims();
  claims.audience = kSystemAudience;
  const Access access = AccessOf(claims, {{TeamId{1}, "main", true, {{"owner", {}}}}});
  EXPECT_TRUE(access.system);
  EXPECT_FALSE(access.admin);
  EXPECT_FALSE(access.MayInAnyTeam(Role::kViewer));
}

TEST(Attempts, AreRefusedAfterTooManyFailuresForAWhile) {
  VirtualClock clock;
  AttemptLimiter limiter(clock, {.failures_max = 3, .window = std::chrono::minutes(1)});
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(limiter.Allowed("ada"));
    limiter.Failed("ada");
  }
  EXPECT_FALSE(limiter.Allowed("ada"));
  EXPECT_TRUE(limiter.Allowed("bob"));
  clock.Set(clock.Steady() + std::chrono::minutes(1));
  EXPECT_TRUE(limiter.Allowed("ada"));
}

TEST(Attempts, AreRememberedForABoundedNumberOfKeys) {
  VirtualClock clock;
  AttemptLimiter limiter(clock,
                         {.failures_max = 1, .window = std::chrono::hours(1), .keys_max = 10});
  for (int i = 0; i < 1000; ++i) {
    clock.Set(clock.Steady() + std::chrono::milliseconds(1));
    limiter.Failed("key" + std::to_string(i));
  }
  EXPECT_TRUE(limiter.Allowed("key0"));
  EXPECT_FALSE(limiter.Allowed("key999"));
}

}  // namespace
}  // namespace pinion::identity
