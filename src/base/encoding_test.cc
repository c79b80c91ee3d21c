#include "base/encoding.h"

#include <gtest/gtest.h>

#include <set>

namespace pinion {
namespace {

TEST(EncodingTest, Base64GoesBothWays) {
  // RFC 4648's examples.
  const std::pair<const char*, const char*> examples[] = {{"", ""},
                                                          {"f", "Zg=="},
                                                          {"fo", "Zm8="},
                                                          {"foo", "Zm9v"},
                                                          {"foob", "Zm9vYg=="},
                                                          {"fooba", "Zm9vYmE="},
                                                          {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, encoded] : examples) {
    EXPECT_EQ(ToBase64(plain), encoded);
    EXPECT_EQ(FromBase64(encoded), plain);
  }
  EXPECT_EQ(ToBase64("\xfb\xff"), "+/8=");
  EXPECT_EQ(ToBase64Url("\xfb\xff"), "-_8");
  EXPECT_EQ(FromBase64("-_8"), "\xfb\xff");
}

TEST(EncodingTest, BrokenBase64IsRefused) {
  for (const char* bad : {"Zg=x", "Z", "Zm9v!", "Zm9v\n", "Zg===="}) {
    EXPECT_FALSE(FromBase64(bad)) << bad;
  }
}

TEST(EncodingTest, HexGoesBothWays) {
  EXPECT_EQ(ToHex(std::string_view("\x00\xab\xff", 3)), "00abff");
  EXPECT_EQ(FromHex("00aBFf"), std::string("\x00\xab\xff", 3));
  EXPECT_FALSE(FromHex("0"));
  EXPECT_FALSE(FromHex("0g"));
}

TEST(EncodingTest, PercentEscapesGoBothWays) {
  EXPECT_EQ(PercentEncode("a b/c?~\xc3\xa4"), "a%20b%2Fc%3F~%C3%A4");
  EXPECT_EQ(PercentDecode("a%20b%2fc+d"), "a b/c+d");
  EXPECT_EQ(PercentDecode("a+b", true), "a b");
  for (const char* bad : {"%", "%2", "%zz"}) {
    EXPECT_FALSE(PercentDecode(bad)) << bad;
  }
}

TEST(EncodingTest, HashesAreTheKnownOnes) {
  EXPECT_EQ(ToHex(Sha256("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(ToHex(HmacSha256("Jefe", "what do ya want for nothing?")),  // RFC 4231, case 2
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST(EncodingTest, ComparesWholeTexts) {
  EXPECT_TRUE(EqualInConstantTime("", ""));
  EXPECT_TRUE(EqualInConstantTime("same", "same"));
  EXPECT_FALSE(EqualInConstantTime("same", "sama"));
  EXPECT_FALSE(EqualInConstantTime("same", "same "));
}

TEST(EncodingTest, RandomValuesDiffer) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const std::string uuid = RandomUuid();
    ASSERT_EQ(uuid.size(), 36U);
    EXPECT_EQ(uuid[14], '4') << uuid;
    EXPECT_NE(std::string_view("89ab").find(uuid[19]), std::string_view::npos) << uuid;
    EXPECT_TRUE(seen.insert(uuid).second);
  }
  EXPECT_EQ(RandomBytes(1000).size(), 1000U);
  EXPECT_NE(RandomBytes(16), RandomBytes(16));
}

}  // namespace
}  // namespace pinion
