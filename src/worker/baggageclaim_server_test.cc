#include "worker/baggageclaim_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "archive/pack.h"
#include "archive/tree.h"
#include "async/loop.h"
#include "base/files.h"
#include "http/client.h"

namespace pinion::worker {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class BaggageclaimServerTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "volumes need root for mounts";
    VolumeStoreOptions options;
    options.folder = scratch_.path() / "volumes";
    store_ = loop_.RunUntilDone(VolumeStore::Open(loop_.executor(), *timers_, Logger(), options));
    // Answers when it is told to, or is stopped.
    VolumeStrategy slow = [this](Json, ProgressReport progress, std::stop_token stop) {
      return Slow(progress, stop);
    };
    store_->AddStrategy("slow", slow);
    api_ = std::make_unique<BaggageclaimServer>(loop_.executor(), *timers_, Logger(), *store_);
    server_ =
        http::Server::Make(loop_.executor(), *timers_, Logger(), {},
                           [this](http::Exchange& exchange) { return api_->Handle(exchange); });
    const std::string socket = "unix:" + (scratch_.path() / "api.sock").string();
    ASSERT_TRUE(server_->Listen(socket));
    client_ = http::Client::Make(loop_.executor(), *timers_, {.url = socket});
  }
  void TearDown() override {
    if (!store_) return;
    client_ = nullptr;
    loop_.RunUntilDone(server_->Shutdown(std::chrono::seconds(1)));
    loop_.RunUntilDone(api_->Shutdown());
    server_ = nullptr;
    api_ = nullptr;
    loop_.RunUntilDone(store_->Close());
    store_ = nullptr;
    VolumeStore::UnmountAll(scratch_.path() / "volumes");
    archive::RemoveTree(scratch_.path() / "volumes");
  }
  Task<VolumeContent> Slow(ProgressReport progress, std::stop_token stop) {
    progress(3, 10);
    co_await go_on_.Wait(stop);
    co_return VolumeContent{};
  }

  http::Response Ask(const std::string& method, const std::string& target, std::string body = {},
                     http::Headers headers = {}) {
    const auto send = [](http::Client& client, http::Request request) -> Task<http::Response> {
      co_return co_await client.Send(std::move(request), {});
    };
    return loop_.RunUntilDone(
        send(*client_, {.method = method, .target = target, .headers = headers, .body = body}));
  }
  Json AskJson(const std::string& method, const std::string& target, std::string body = {}) {
    const auto response = Ask(method, target, std::move(body));
    EXPECT_LT(response.status, 300) << response.body;
    EXPECT_EQ(response.headers.Get("Content-Type"), "application/json");
    return ParseJson(response.body).value_or(Json());
  }
  std::string Tar(archive::Encoding encoding) {
    const fs::path folder = scratch_.path() / "sample";
    fs::create_directories(folder);
    std::ofstream(folder / "file") << std::string(300'000, 'x');
    archive::TextSink sink;
    const auto encoder = archive::MakeEncoder(sink, encoding);
    archive::Pack(archive::OpenFolder(folder).get(), "", *encoder, {});
    return sink.text();
  }

  TemporaryFolder scratch_{"baggageclaim"};
  SystemClock clock_;
  Loop loop_{"test"};
  std::unique_ptr<Timers> timers_ = MakeSystemTimers(loop_.executor(), clock_);
  Event go_on_;
  std::unique_ptr<VolumeStore> store_;
  std::unique_ptr<BaggageclaimServer> api_;
  std::unique_ptr<http::Server> server_;
  std::unique_ptr<http::Client> client_;
};

TEST_F(BaggageclaimServerTest, CreatesListsAndDestroys) {
  const Json one = AskJson(
      "POST", "/volumes",
      R"({"handle":"one","strategy":{"type":"empty"},"properties":{"a":"b"},"privileged":true})");
  EXPECT_EQ(one.StringAt("handle"), "one");
  EXPECT_TRUE(one.BoolAt("privileged"));
  EXPECT_TRUE(fs::is_directory(one.StringAt("path")));
  EXPECT_EQ(AskJson("POST", "/volumes-async",
                    R"({"handle":"two","strategy":{"type":"cow","volume":"one"}})")
                .StringAt("handle"),
            "two");
  EXPECT_EQ(AskJson("GET", "/volumes-async/two").StringAt("handle"), "two");
  EXPECT_EQ(AskJson("GET", "/volumes-async/two").StringAt("handle"), "two");
  EXPECT_EQ(Ask("DELETE", "/volumes-async/two").status, 204);
  EXPECT_EQ(Ask("GET", "/volumes-async/two").status, 404);
  // Who waits gets the volume at once and leaves nothing behind; again, and it is the same.
  const http::Headers waiting{{"X-Pinion-Wait", "1"}};
  for (int i = 0; i < 2; ++i) {
    const auto made = Ask("POST", "/volumes-async",
                          R"({"handle":"two","strategy":{"type":"cow","volume":"one"}})", waiting);
    EXPECT_EQ(made.status, 201);
    EXPECT_TRUE(fs::is_directory(ParseJson(made.body)->StringAt("path")));
    EXPECT_EQ(Ask("GET", "/volumes-async/two").status, 404);
  }
  EXPECT_EQ(AskJson("GET", "/volumes").AsArray().size(), 2U);
  EXPECT_EQ(AskJson("GET", "/volumes?a=b").AsArray().size(), 1U);
  EXPECT_EQ(Ask("GET", "/volumes?a=b&a=c").status, 422);
  EXPECT_EQ(Ask("DELETE", "/volumes/one").status, 409);  // it has a copy
  EXPECT_EQ(Ask("DELETE", "/volumes/destroy", R"(["none","one","two"])").status, 204);
  EXPECT_EQ(Ask("DELETE", "/volumes/one").status, 404);
  EXPECT_EQ(Ask("GET", "/volumes/one").status, 404);
  EXPECT_TRUE(AskJson("GET", "/volumes").AsArray().empty());
}

TEST_F(BaggageclaimServerTest, ChangesPropertiesAndPrivilege) {
  AskJson("POST", "/volumes", R"({"handle":"one","strategy":{"type":"empty"}})");
  EXPECT_EQ(Ask("PUT", "/volumes/one/properties/some%2Fname", R"({"value":"x"})").status, 204);
  EXPECT_EQ(AskJson("GET", "/volumes/one").Find("properties")->StringAt("some/name"), "x");
  EXPECT_EQ(Ask("GET", "/volumes/one/privileged").body, "false\n");
  EXPECT_EQ(Ask("PUT", "/volumes/one/privileged", R"({"value":true})").status, 204);
  EXPECT_EQ(Ask("GET", "/volumes/one/privileged").body, "true\n");
  EXPECT_EQ(Ask("PUT", "/volumes/none/privileged", R"({"value":true})").status, 404);
  EXPECT_EQ(Ask("PUT", "/volumes/one/privileged", "nonsense").status, 400);
}

TEST_F(BaggageclaimServerTest, StreamsBothWaysInEachEncoding) {
  AskJson("POST", "/volumes", R"({"handle":"one","strategy":{"type":"empty"}})");
  for (const char* name : {"gzip", "zstd", "raw"}) {
    const auto encoding = *archive::ParseEncoding(name);
    const std::string tar = Tar(encoding);
    EXPECT_EQ(Ask("PUT", std::string("/volumes/one/stream-in?path=") + name, tar,
                  {{"Content-Encoding", name}})
                  .status,
              204);
    const auto out = Ask("PUT", std::string("/volumes/one/stream-out?path=") + name, "",
                         {{"Accept-Encoding", name}});
    EXPECT_EQ(out.status, 200);
    EXPECT_TRUE(out.body == tar) << name;
  }
  const auto missing = Ask("PUT", "/volumes/one/stream-out?path=nope", "");
  EXPECT_EQ(missing.status, 404);
  EXPECT_EQ(missing.body, "{\"error\":\"no such file or directory\"}\n");
  EXPECT_EQ(Ask("PUT", "/volumes/none/stream-out?path=x").status, 404);
  EXPECT_THAT(Ask("PUT", "/volumes/one/stream-in", "x", {{"Content-Encoding", "s2"}}).body,
              HasSubstr("'s2' is not supported"));
  EXPECT_EQ(Ask("PUT", "/volumes/one/stream-in", "garbage").status, 400);
  EXPECT_EQ(Ask("PUT", "/volumes/none/stream-in", "garbage").status, 404);
  EXPECT_EQ(Ask("PUT", "/volumes/one/stream-in?limit=x", "garbage").status, 400);
  const auto over = Ask("PUT", "/volumes/one/stream-in?limit=0.0001", Tar(archive::Encoding::kRaw),
                        {{"Content-Encoding", "raw"}});
  EXPECT_EQ(over.status, 403);
  EXPECT_THAT(over.body, HasSubstr("exceeded volume streaming limit of 104B"));
}

TEST_F(BaggageclaimServerTest, TellsBadRequestsAndMissingParentsApart) {
  EXPECT_EQ(Ask("POST", "/volumes-async", "{").status, 400);
  EXPECT_EQ(Ask("POST", "/volumes-async", R"({"handle":"x","strategy":{"type":"odd"}})").status,
            422);
  EXPECT_EQ(Ask("POST", "/volumes", R"({"handle":"x","strategy":{"type":"cow"}})").status, 422);
  EXPECT_EQ(
      Ask("POST", "/volumes-async", R"({"handle":"x","strategy":{"type":"cow","volume":"none"}})")
          .status,
      201);
  const auto check = Ask("GET", "/volumes-async/x");
  EXPECT_EQ(check.status, 422);
  EXPECT_THAT(check.body, HasSubstr("failed to create volume: parent volume 'none'"));
  EXPECT_EQ(Ask("GET", "/p2p-url").status, 500);
  EXPECT_EQ(Ask("PUT", "/volumes/x/stream-p2p-out?path=a&encoding=gzip").status, 400);
  EXPECT_EQ(Ask("PATCH", "/volumes").status, 405);
  EXPECT_EQ(Ask("GET", "/nothing").status, 404);
}

TEST_F(BaggageclaimServerTest, ACreationShowsItsProgressAndCanBeCancelled) {
  AskJson("POST", "/volumes-async", R"({"handle":"x","strategy":{"type":"slow"}})");
  const auto working = Ask("GET", "/volumes-async/x");
  EXPECT_EQ(working.status, 204);
  EXPECT_EQ(working.headers.Get("X-Pinion-Progress"), "3/10");
  EXPECT_EQ(Ask("DELETE", "/volumes-async/x").status, 204);
  EXPECT_EQ(Ask("GET", "/volumes-async/x").status, 404);
  EXPECT_TRUE(AskJson("GET", "/volumes").AsArray().empty());
  AskJson("POST", "/volumes-async", R"({"handle":"y","strategy":{"type":"slow"}})");
  go_on_.Set();
  EXPECT_EQ(AskJson("GET", "/volumes-async/y").StringAt("handle"), "y");
}

}  // namespace
}  // namespace pinion::worker
