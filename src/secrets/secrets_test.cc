#include <gtest/gtest.h>
#include <openssl/evp.h>

#include "async/loop.h"
#include "base/encoding.h"
#include "base/text.h"
#include "secrets/id_tokens.h"
#include "secrets/signing_keys.h"
#include "secrets/var_sources.h"
#include "store/database.h"
#include "store/pipelines.h"
#include "store/teams.h"
#include "store/testing.h"
#include "vars/template.h"

namespace pinion::secrets {
namespace {

Json Decoded(std::string_view part) {
  std::string text(part);
  for (char& c : text)
    c = c == '-' ? '+' : c == '_' ? '/' : c;
  while (text.size() % 4 != 0)
    text += '=';
  return ParseJson(FromBase64(text).value()).value();
}

Json ClaimsOf(const std::string& token) {
  return Decoded(Split(token, '.').at(1));
}

TEST(SigningKeysTest, AreReadBackAsTheyWere) {
  const SigningKeys keys = SigningKeys::Make();
  const SigningKeys again = SigningKeys::Parse(keys.Text()).value();
  EXPECT_EQ(ToText(again.PublicKeys()), ToText(keys.PublicKeys()));
  EXPECT_FALSE(SigningKeys::Parse("no keys"));
  const Json& curve = keys.PublicKeys().Find("keys")->AsArray().at(1);
  EXPECT_EQ(curve.StringAt("x").size(), 43U);
}

TEST(SigningKeysTest, TokensNameTheirKeyAndAlgorithm) {
  const SigningKeys keys = SigningKeys::Make();
  const JsonArray published = keys.PublicKeys().Find("keys")->AsArray();
  const std::string rsa = keys.Sign("RS256", JsonObject{{"sub", "a"}});
  EXPECT_EQ(Decoded(Split(rsa, '.').at(0)).StringAt("kid"), published[0].StringAt("kid"));
  EXPECT_EQ(Split(rsa, '.').at(2).size(), 342U);  // 2048 bits
  const std::string curve = keys.Sign("ES256", JsonObject{{"sub", "a"}});
  EXPECT_EQ(Decoded(Split(curve, '.').at(0)).StringAt("alg"), "ES256");
  EXPECT_EQ(Split(curve, '.').at(2).size(), 86U);  // two numbers of 256 bits
  EXPECT_THROW(keys.Sign("HS256", JsonObject{}), Failure);
}

TEST(IdTokenConfigTest, RefusesWhatItDoesNotKnow) {
  const auto parse = [](const char* text) { return IdTokenConfig::Parse(ParseJson(text).value()); };
  EXPECT_EQ(parse(R"({"subject_scope":"job","expires_in":"2h"})")->expires_in,
            std::chrono::hours(2));
  EXPECT_FALSE(parse(R"({"subject_scope":"world"})"));
  EXPECT_FALSE(parse(R"({"expires_in":"25h"})"));
  EXPECT_FALSE(parse(R"({"audience":"not a list"})"));
  EXPECT_FALSE(parse(R"({"more":"1"})"));
}

class VarSourcesTest : public store::testing::DatabaseTest {
 protected:
  void SetUp() override {
    DatabaseTest::SetUp();
    if (IsSkipped()) return;
    tokens_ = std::make_unique<IdTokens>(database(), clock_);
    sources_ = std::make_unique<VarSources>(database(), *tokens_);
  }
  PipelineId SetPipeline(const std::string& config) {
    return Write([&](store::Transaction& transaction) {
      const TeamId team = store::EnsureMainTeam(transaction, "{}").id;
      store::NewPipeline pipeline;
      pipeline.name = "p";
      pipeline.config = config;
      return store::SavePipeline(transaction, team, pipeline, {}).id;
    });
  }
  vars::ResolvedVariables Resolve(PipelineId pipeline, const std::string& text) {
    return loop_.RunUntilDone(sources_->Resolve({.team = "main", .pipeline = "p/q"}, pipeline,
                                               vars::References(Json(text)).value(), {}));
  }
  std::string Filled(PipelineId pipeline, const std::string& text) {
    return ToText(vars::Interpolate(Json(text), Resolve(pipeline, text)).value());
  }

  Loop loop_{"test"};
  SystemClock clock_;
  std::unique_ptr<IdTokens> tokens_;
  std::unique_ptr<VarSources> sources_;
};
PINION_FOR_EACH_DATABASE(VarSourcesTest);

TEST_P(VarSourcesTest, ValuesComeFromTheSourceThatIsNamed) {
  const PipelineId pipeline = SetPipeline(
      R"j({"var_sources":[{"name":"a","type":"dummy","config":{"vars":{"x":"1","deep":{"y":2}}}},)j"
      R"j({"name":"b","type":"dummy","config":{"vars":{"x":"((a:x))0"}}}]})j");
  EXPECT_EQ(Filled(pipeline, "((a:x))-((a:deep.y))-((b:x))"), R"j("1-2-10")j");
  EXPECT_EQ(Filled(pipeline, "((x)) ((a:z)) ((c:x)) ((.:x))"),
            R"j("((x)) ((a:z)) ((c:x)) ((.:x))")j");
}

TEST_P(VarSourcesTest, SourcesThatNeedEachOtherAreRefused) {
  const PipelineId pipeline = SetPipeline(
      R"j({"var_sources":[{"name":"a","type":"dummy","config":{"vars":{"x":"((a:x))"}}}]})j");
  EXPECT_THROW(Resolve(pipeline, "((a:x))"), Failure);
}

TEST_P(VarSourcesTest, IdTokensSayWhoseTheyAre) {
  tokens_->SetIssuer("https://ci.example.com");
  const PipelineId pipeline = SetPipeline(
      R"({"var_sources":[{"name":"t","type":"idtoken","config":{"audience":["aws"]}}]})");
  const auto token = Resolve(pipeline, "((t:token))").Get({"t", "token", {}}).value();
  ASSERT_TRUE(token);
  const Json claims = ClaimsOf(token->AsString());
  EXPECT_EQ(claims.StringAt("iss"), "https://ci.example.com");
  EXPECT_EQ(claims.StringAt("sub"), "main/p%2Fq");
  EXPECT_EQ(claims.Find("exp")->AsInteger() - claims.Find("iat")->AsInteger(), 3600);
  EXPECT_THROW(Resolve(pipeline, "((t:other))"), Failure);
  // Another node signs with the same keys.
  IdTokens other(database(), clock_);
  EXPECT_EQ(ToText(loop_.RunUntilDone(other.PublicKeys())),
            ToText(loop_.RunUntilDone(tokens_->PublicKeys())));
}

}  // namespace
}  // namespace pinion::secrets
