#include <fstream>

#include "api/cookies.h"
#include "api/redirect.h"
#include "api/test_api.h"
#include "base/encoding.h"

namespace pinion::api {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class LoginTest : public ApiTest {
 protected:
  http::Response Token(const std::string& form,
                       const std::string& authorization = "Basic Zmx5OlpteDU=") {
    return Send("POST", "/sky/issuer/token", "", form, {{"Authorization", authorization}});
  }
  /// Follows the browser's way to the form and posts it; the answer to the post.
  http::Response PostForm(const std::string& redirect, const std::string& password,
                          bool with_cookie = true) {
    const auto start = Send("GET", "/sky/login?redirect_uri=" + PercentEncode(redirect));
    EXPECT_EQ(start.status, 307);
    const std::string form(start.headers.Get("Location"));
    const std::string cookie = CookieOf(start, kLoginCookie);
    const http::Headers headers =
        with_cookie ? http::Headers{{"Cookie", std::string(kLoginCookie) + "=\"" + cookie + "\""}}
                    : http::Headers{};
    EXPECT_EQ(Send("GET", form, "", "", headers).status, with_cookie ? 200 : 400);
    return Send("POST", form, "", "login=test&password=" + password, headers);
  }
  static std::string CookieOf(const http::Response& response, std::string_view name) {
    for (const auto& [header, value] : response.headers) {
      const std::string start = std::string(name) + "=\"";
      if (value.starts_with(start)) {
        return value.substr(start.size(), value.find('"', start.size()) - start.size());
      }
    }
    return "";
  }
};
PINION_FOR_EACH_DATABASE(LoginTest);

TEST_P(LoginTest, GivesATokenForAPassword) {
  const auto response =
      Token("grant_type=password&username=test&password=test&scope=openid+profile");
  ASSERT_EQ(response.status, 200) << response.body;
  const Json body = ParseJson(response.body).value();
  EXPECT_EQ(body.StringAt("token_type"), "bearer");
  EXPECT_GT(body.IntegerAt("expires_in"), 80'000);
  const auto user =
      Send("GET", "/api/v1/user", "", "",
           {{"Authorization", "bearer " + std::string(body.StringAt("access_token"))}});
  ASSERT_EQ(user.status, 200);
  EXPECT_EQ(ParseJson(user.body)->StringAt("display_user_id"), "test");
  EXPECT_TRUE(ParseJson(user.body)->BoolAt("is_admin"));
  EXPECT_EQ(ParseJson(user.body)->StringAt("sub"), "CgR0ZXN0EgVsb2NhbA");
}

TEST_P(LoginTest, RefusesWrongPasswordsClientsAndGrants) {
  EXPECT_EQ(Token("grant_type=password&username=test&password=no&scope=openid").status, 401);
  EXPECT_EQ(Token("grant_type=password&username=nobody&password=test&scope=openid").status, 401);
  EXPECT_EQ(Token("grant_type=password&username=test&password=test").status, 400);
  EXPECT_EQ(Token("grant_type=device_code&scope=openid").status, 400);
  EXPECT_EQ(
      Token("grant_type=password&username=test&password=test&scope=openid", "Basic eDp5").status,
      401);
  EXPECT_EQ(Token("grant_type=client_credentials", "Basic Zmx5OlpteDU=").status, 401);
}

TEST_P(LoginTest, SlowsGuessingDown) {
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(Token("grant_type=password&username=test&password=no&scope=openid").status, 401);
  }
  // Even the right one is refused for a while.
  EXPECT_EQ(Token("grant_type=password&username=test&password=test&scope=openid").status, 429);
  EXPECT_EQ(Token("grant_type=password&username=other&password=other&scope=openid").status, 200);
}

TEST_P(LoginTest, RefusesTokensThatAreNone) {
  for (const char* authorization : {"Bearer x", "Bearer", "Basic dGVzdDp0ZXN0", "Bearer a b"}) {
    const auto response = Send("GET", "/api/v1/user", "", "", {{"Authorization", authorization}});
    EXPECT_EQ(response.status, 401) << authorization;
    EXPECT_EQ(response.body, "not authorized");
    // Also where no token is needed.
    EXPECT_EQ(Send("GET", "/api/v1/info", "", "", {{"Authorization", authorization}}).status, 401);
  }
  EXPECT_EQ(Send("GET", "/api/v1/info").status, 200);
}

TEST_P(LoginTest, LogsABrowserInAndOut) {
  const auto entered = PostForm("/teams/main?a=b", "test");
  ASSERT_EQ(entered.status, 303) << entered.body;
  EXPECT_THAT(std::string(entered.headers.Get("Location")),
              StartsWith("/teams/main?a=b&csrf_token="));
  const std::string token = CookieOf(entered, kAuthCookie);
  const std::string csrf = CookieOf(entered, kCsrfCookie);
  ASSERT_THAT(token, StartsWith("bearer "));
  const std::string cookies = "skymarshal_auth=\"" + token + "\"; skymarshal_csrf=\"" + csrf + "\"";
  EXPECT_EQ(Send("GET", "/api/v1/user", "", "", {{"Cookie", cookies}}).status, 200);

  // A page of another site can send the cookies, but not the header.
  const std::string body = R"({"message":"hello"})";
  EXPECT_EQ(Send("PUT", "/api/v1/wall", "", body, {{"Cookie", cookies}}).status, 401);
  EXPECT_EQ(Send("PUT", "/api/v1/wall", "", body, {{"Cookie", cookies}, {"X-Csrf-Token", "wrong"}})
                .status,
            401);
  EXPECT_EQ(Send("PUT", "/api/v1/wall", "test", body, {{"Cookie", cookies}}).status, 401);
  EXPECT_NE(
      Send("PUT", "/api/v1/wall", "", body, {{"Cookie", cookies}, {"X-Csrf-Token", csrf}}).status,
      401);

  EXPECT_EQ(Send("GET", "/sky/logout", "", "", {{"Cookie", cookies}}).status, 200);
  const auto after = Send("GET", "/api/v1/user", "", "", {{"Cookie", cookies}});
  EXPECT_EQ(after.status, 401);
  EXPECT_THAT(std::string(after.headers.Get("Set-Cookie")), HasSubstr("Max-Age=0"));
  EXPECT_EQ(Send("GET", "/sky/logout", "", "", {{"Cookie", cookies}}).status, 401);
}

TEST_P(LoginTest, BindsTheFormToItsBrowser) {
  EXPECT_EQ(PostForm("/", "test", false).status, 400);
  EXPECT_EQ(PostForm("/", "wrong").status, 401);
  EXPECT_EQ(
      Send("POST", "/sky/issuer/auth/local/login?state=x", "", "login=test&password=test").status,
      400);
}

TEST_P(LoginTest, HandsTheTokenToFly) {
  const auto start = Send("GET", "/login?fly_port=4711");
  ASSERT_EQ(start.status, 302);
  EXPECT_EQ(start.headers.Get("Location"),
            "/sky/login?redirect_uri=%2Ffly_success%3Ffly_port%3D4711");
  const auto entered = PostForm("/fly_success?fly_port=4711", "test");
  ASSERT_EQ(entered.status, 303);
  const std::string cookie = "skymarshal_auth=\"" + CookieOf(entered, kAuthCookie) + "\"";
  const auto page =
      Send("GET", std::string(entered.headers.Get("Location")), "", "", {{"Cookie", cookie}});
  ASSERT_EQ(page.status, 200);
  EXPECT_THAT(page.body, HasSubstr("url=http://127.0.0.1:4711/?token=bearer%20"));
  const auto other =
      Send("GET", "/fly_success?fly_port=1@evil.example", "", "", {{"Cookie", cookie}});
  EXPECT_THAT(other.body, Not(HasSubstr("evil")));
  EXPECT_EQ(Send("GET", "/fly_success?fly_port=4711").status, 302);
}

TEST(RedirectTest, StaysOnThisSite) {
  EXPECT_EQ(SafeRedirect("/a/b?c=d"), "/a/b?c=d");
  EXPECT_EQ(SafeRedirect("https://evil.example/"), "/https://evil.example/");
  EXPECT_EQ(SafeRedirect("//evil.example"), "/evil.example");
  EXPECT_EQ(SafeRedirect("%2F%2Fevil.example"), "/evil.example");
  EXPECT_EQ(SafeRedirect("/%252F/evil.example"), "/evil.example");
  EXPECT_FALSE(SafeRedirect("/\\evil.example"));
  EXPECT_FALSE(SafeRedirect("/%5Cevil.example"));
  EXPECT_FALSE(SafeRedirect("/a%0d%0aSet-Cookie: x=y"));
  EXPECT_FALSE(SafeRedirect("/%2525252525252541"));
  EXPECT_FALSE(SafeRedirect("/%zz"));
  EXPECT_EQ(SafeRedirect(""), "/");
}

TEST_P(LoginTest, LetsUpstreamsFlyInByPassword) {
  const std::string fly = Fly();
  if (fly.empty()) GTEST_SKIP() << "upstream's fly is not on this machine";
  int status = 0;
  const std::string home = "HOME=" + folder_.path().string() + " ";
  const std::string output =
      Shell(home + fly + " -t t login -c " + Url() + " -u test -p test && " + home + fly +
                " -t t status && " + home + fly + " -t t userinfo && " + home + fly + " -t t teams",
            status);
  EXPECT_EQ(status, 0) << output;
  EXPECT_THAT(output, HasSubstr("target saved"));
  EXPECT_THAT(output, HasSubstr("logged in successfully"));
  const std::string refused =
      Shell(home + fly + " -t t login -c " + Url() + " -u test -p wrong", status);
  EXPECT_NE(status, 0) << refused;
}

TEST_P(LoginTest, LetsUpstreamsFlyInByBrowser) {
  const std::string fly = Fly();
  if (fly.empty()) GTEST_SKIP() << "upstream's fly is not on this machine";
  // fly wants a terminal to ask for the token on; curl is the browser, with its cookies in a jar.
  std::ofstream(folder_.path() / "login.sh") << R"(
set -eu
cd "$1"; export HOME="$1"; url="$2"; fly="$3"
mkfifo silence; exec 3<> silence
script -qfec "$fly -t t login -c $url" /dev/null < silence > fly.out 2>&1 &
for i in $(seq 100); do
  start=$(tr -d '\r' < fly.out | grep -o "$url/login?fly_port=[0-9]*" || true)
  [ -n "$start" ] && break
  read -t 0.1 -u 3 _ || true
done
form=$(curl -sL -c jar -b jar -o form.html -w '%{url_effective}' "$start")
curl -sL -c jar -b jar -d login=test -d password=test "$form" > token.html
target=$(grep -o 'content="0;url=[^"]*' token.html | sed 's/.*url=//;s/&amp;/\&/g')
curl -s "$target"
wait
cat fly.out
"$fly" -t t userinfo
)";
  if (std::system("command -v script curl > /dev/null") != 0) {
    GTEST_SKIP() << "script (package bsdutils) and curl are needed";
  }
  int status = 0;
  const std::string output = Shell("timeout 30 bash " + (folder_.path() / "login.sh").string() +
                                       " " + folder_.path().string() + " " + Url() + " " + fly,
                                   status);
  EXPECT_EQ(status, 0) << output;
  EXPECT_THAT(output, HasSubstr("target saved"));
  EXPECT_THAT(output, HasSubstr("test"));
}

}  // namespace
}  // namespace pinion::api
