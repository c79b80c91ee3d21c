#include "worker/images/image_puller.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "archive/codec.h"
#include "archive/tar_text.h"
#include "archive/tree.h"
#include "async/loop.h"
#include "base/encoding.h"
#include "base/files.h"
#include "base/text.h"
#include "http/server.h"
#include "linux/process.h"
#include "worker/id_mapping.h"

namespace pinion::worker {
namespace {

namespace fs = std::filesystem;
using archive::Encoding;
using archive::Tar;
using testing::HasSubstr;

std::string DigestOf(std::string_view text) {
  return "sha256:" + ToHex(Sha256(text));
}

std::string Encode(const std::string& text, Encoding encoding) {
  archive::TextSink sink;
  const auto encoder = archive::MakeEncoder(sink, encoding);
  encoder->Write(text);
  encoder->Finish();
  return sink.text();
}

/// An image and everything a registry needs to serve it.
struct MadeImage {
  std::string manifest;
  std::map<std::string, std::string> blobs;  // by digest
  std::string digest() const { return DigestOf(manifest); }
};

MadeImage MakeImage(const std::vector<std::string>& tars, Encoding encoding = Encoding::kGzip) {
  MadeImage image;
  JsonArray diff_ids;
  JsonArray layers;
  for (const std::string& tar : tars) {
    diff_ids.emplace_back(DigestOf(tar));
    const std::string blob = Encode(tar, encoding);
    image.blobs[DigestOf(blob)] = blob;
    layers.emplace_back(JsonObject{{"mediaType", "application/vnd.oci.image.layer.v1.tar+gzip"},
                                   {"digest", DigestOf(blob)},
                                   {"size", static_cast<long>(blob.size())}});
  }
  const Json config(JsonObject{{"architecture", registry::MachineArchitecture()},
                               {"os", "linux"},
                               {"config", JsonObject{{"Env", JsonArray{"PATH=/bin"}},
                                                     {"User", "app"},
                                                     {"Labels", JsonObject{{"a", "b"}}}}},
                               {"rootfs", JsonObject{{"type", "layers"}, {"diff_ids", diff_ids}}}});
  const std::string config_text = ToText(config);
  image.blobs[DigestOf(config_text)] = config_text;
  image.manifest = ToText(Json(
      JsonObject{{"schemaVersion", 2},
                 {"mediaType", "application/vnd.oci.image.manifest.v1+json"},
                 {"config", JsonObject{{"mediaType", "application/vnd.oci.image.config.v1+json"},
                                       {"digest", DigestOf(config_text)},
                                       {"size", static_cast<long>(config_text.size())}}},
                 {"layers", layers}}));
  return image;
}

/// A registry over plain HTTP that can lie and break off.
class FakeRegistry {
 public:
  void Add(const MadeImage& image, const std::string& tag) {
    manifests[tag] = image.manifest;
    manifests[image.digest()] = image.manifest;
    for (const auto& [digest, blob] : image.blobs)
      blobs[digest] = blob;
  }

  Task<void> Handle(http::Exchange& exchange) {
    const std::string path(exchange.request().Path());
    if (!token.empty() && path != "/token" &&
        exchange.request().headers.Get("Authorization") != "Bearer " + token) {
      co_await exchange.Respond(
          {401,
           {{"WWW-Authenticate",
             "Bearer realm=\"http://" + address + "/token\",service=\"fake\",scope=\"x\""}},
           ""});
      co_return;
    }
    if (path == "/token") {
      token_query = exchange.request().QueryText();
      token_login = exchange.request().headers.Get("Authorization");
      co_await exchange.Respond({200, {}, "{\"token\":\"" + token + "\"}"});
      co_return;
    }
    if (path == "/v2/") {
      co_await exchange.Respond({200, {}, "{}"});
      co_return;
    }
    const std::string last = path.substr(path.rfind('/') + 1);
    if (path.find("/manifests/") != std::string::npos && manifests.contains(last)) {
      co_await exchange.Respond({200, {}, manifests[last]});
    } else if (path.find("/blobs/") != std::string::npos && blobs.contains(last)) {
      co_await SendBlob(exchange, blobs[last]);
    } else {
      co_await exchange.Respond(
          {404, {}, R"({"errors":[{"code":"UNKNOWN","message":"no such thing"}]})"});
    }
  }

  Task<void> SendBlob(http::Exchange& exchange, std::string blob) {
    std::size_t from = 0;
    http::Response head{200, {}, {}};
    const std::string_view range = exchange.request().headers.Get("Range");
    if (ranges && range.starts_with("bytes=")) {
      from = std::stoul(std::string(range.substr(6)));
      head.status = 206;
      head.headers.Set("Content-Range", "bytes " + std::to_string(from) + "-" +
                                            std::to_string(blob.size() - 1) + "/" +
                                            std::to_string(blob.size()));
    }
    ++blob_requests;
    std::string part = blob.substr(from);
    bool cut = false;
    if (cut_after > 0 && cuts_left > 0 && part.size() > cut_after) {
      part.resize(cut_after + (blob_requests * 7919) % 1000);
      cut = true;
      --cuts_left;
    }
    if (blob.size() > cut_after) starts.push_back(from);
    http::BodyWriter* writer = co_await exchange.Start(std::move(head), false);
    co_await writer->Write(part, exchange.stop());
    if (!cut) co_await writer->Finish(exchange.stop());
  }

  std::map<std::string, std::string> manifests;
  std::map<std::string, std::string> blobs;
  std::string address;
  std::string token;
  std::string token_query;
  std::string token_login;
  bool ranges = true;
  std::size_t cut_after = 0;
  std::size_t blob_requests = 0;
  std::size_t cuts_left = 1000;
  std::vector<std::size_t> starts;  // of the ranges of large blobs
};

class ImagePullerTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "volumes need root for mounts";
    VolumeStoreOptions options;
    options.folder = scratch_.path() / "volumes";
    store_ = loop_.RunUntilDone(VolumeStore::Open(loop_.executor(), *timers_, Logger(), options));
    ImagePullerOptions pulling;
    pulling.retry_pause = std::chrono::milliseconds(1);
    puller_ = std::make_unique<ImagePuller>(loop_.executor(), Logger(), *store_, pulling);
    store_->AddStrategy("registry-image", puller_->Strategy());
    server_ =
        http::Server::Make(loop_.executor(), *timers_, Logger(), {},
                           [this](http::Exchange& exchange) { return registry_.Handle(exchange); });
    ASSERT_TRUE(server_->Listen("127.0.0.1:0"));
    registry_.address = "127.0.0.1:" + std::to_string(server_->port());
  }
  void TearDown() override {
    if (!store_) return;
    loop_.RunUntilDone(server_->Shutdown(std::chrono::seconds(0)));
    loop_.RunUntilDone(store_->Close());
    puller_ = nullptr;
    store_ = nullptr;
    VolumeStore::UnmountAll(scratch_.path() / "volumes");
    archive::RemoveTree(scratch_.path() / "volumes");
  }

  Json Strategy(const std::string& repository, const std::string& digest, Json source = {},
                Json params = {}) {
    JsonObject from = source.IsObject() ? source.AsObject() : JsonObject{};
    from.Set("repository", repository);
    return JsonObject{{"type", "registry-image"},
                      {"source", from},
                      {"params", std::move(params)},
                      {"version", JsonObject{{"tag", "1.0"}, {"digest", digest}}}};
  }
  Json Strategy(const MadeImage& image) {
    return Strategy(registry_.address + "/some/app", image.digest());
  }
  fs::path Pull(const std::string& handle, Json strategy) {
    protocol::baggageclaim::VolumeRequest request;
    request.handle = handle;
    request.strategy = std::move(strategy);
    return loop_.RunUntilDone(store_->Create(request, {}, {})).path;
  }
  std::string Refused(Json strategy) {
    try {
      Pull("refused", std::move(strategy));
    } catch (const Failure& failure) {
      loop_.RunUntilDone(store_->WaitForRemovals());
      EXPECT_TRUE(store_->List({}).empty());
      return failure.what();
    }
    return "accepted";
  }
  std::size_t SharedLayers() {
    return static_cast<std::size_t>(std::distance(
        fs::directory_iterator(scratch_.path() / "volumes/shared"), fs::directory_iterator()));
  }

  TemporaryFolder scratch_{"images"};
  SystemClock clock_;
  Loop loop_{"test"};
  std::unique_ptr<Timers> timers_ = MakeSystemTimers(loop_.executor(), clock_);
  FakeRegistry registry_;
  std::unique_ptr<VolumeStore> store_;
  std::unique_ptr<ImagePuller> puller_;
  std::unique_ptr<http::Server> server_;
};

std::string BaseTar() {
  return Tar({{"bin/", '5', "", "", 0755},
              {"bin/sh", '0', "shell", "", 04755},
              {"etc/", '5', "", "", 0755},
              {"etc/passwd", '0', "root", "", 0644, 7},
              {"gone/", '5', "", "", 0755},
              {"gone/file", '0', "x"},
              {"dev/", '5', "", "", 0755},
              {"dev/null", '3'}});
}

std::string TopTar() {
  return Tar({{".wh.gone", '0'},
              {"etc/", '5', "", "", 0755},
              {"etc/.wh..wh..opq", '0'},
              {"etc/hosts", '0', "hosts"},
              {"bin/link", '2', "", "/bin/sh"}});
}

TEST_F(ImagePullerTest, MakesAVolumeLikeTheResourceType) {
  const MadeImage image = MakeImage({BaseTar(), TopTar()});
  registry_.Add(image, "1.0");
  const fs::path volume = Pull("one", Strategy(image));
  EXPECT_EQ(ReadFile(volume / "rootfs/bin/sh"), "shell");
  EXPECT_EQ(ReadFile(volume / "rootfs/etc/hosts"), "hosts");
  EXPECT_FALSE(fs::exists(volume / "rootfs/etc/passwd"));  // hidden by the opaque folder
  EXPECT_FALSE(fs::exists(volume / "rootfs/gone"));
  EXPECT_FALSE(fs::exists(volume / "rootfs/dev/null"));
  struct stat info{};
  ASSERT_EQ(::stat((volume / "rootfs/bin/sh").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, kHostIdBase);
  EXPECT_EQ(info.st_mode & 07777, 04755U);
  EXPECT_EQ(ReadFile(volume / "metadata.json"),
            "{\"cmd\":null,\"entrypoint\":null,\"env\":[\"PATH=/bin\"],\"user\":\"app\"}\n");
  EXPECT_EQ(ReadFile(volume / "repository"), registry_.address + "/some/app");
  EXPECT_EQ(ReadFile(volume / "tag"), "1.0");
  EXPECT_EQ(ReadFile(volume / "digest"), image.digest());
  EXPECT_EQ(ReadFile(volume / "labels.json"), "{\"a\":\"b\"}\n");
}

TEST_F(ImagePullerTest, FetchesOnlyLayersThatAreNew) {
  const MadeImage first = MakeImage({BaseTar(), TopTar()});
  const MadeImage second = MakeImage({BaseTar(), Tar({{"more", '0', "more"}})});
  // Other compression, same content: the layer is the same.
  const MadeImage third = MakeImage({BaseTar(), TopTar(), TopTar()}, Encoding::kZstd);
  registry_.Add(first, "1");
  registry_.Add(second, "2");
  registry_.Add(third, "3");
  Pull("one", Strategy(first));
  EXPECT_EQ(registry_.blob_requests, 3U);
  const fs::path two = Pull("two", Strategy(second));
  EXPECT_EQ(registry_.blob_requests, 5U);
  EXPECT_EQ(ReadFile(two / "rootfs/more"), "more");
  EXPECT_EQ(ReadFile(two / "rootfs/etc/passwd"), "root");
  Pull("three", Strategy(third));
  EXPECT_EQ(registry_.blob_requests, 6U);  // its config alone
  EXPECT_EQ(SharedLayers(), 3U);
}

TEST_F(ImagePullerTest, GoesOnWhereATransferBrokeOff) {
  std::string noise;
  for (int i = 0; noise.size() < 3'000'000; ++i)
    noise += Sha256(std::to_string(i));
  const MadeImage image = MakeImage({Tar({{"noise", '0', noise}})});
  registry_.Add(image, "1.0");
  registry_.cut_after = 200'000;
  const fs::path volume = Pull("one", Strategy(image));
  EXPECT_TRUE(ReadFile(volume / "rootfs/noise") == noise);
  EXPECT_GT(registry_.blob_requests, 10U);
  for (std::size_t i = 1; i < registry_.starts.size(); ++i) {
    EXPECT_GT(registry_.starts[i], registry_.starts[i - 1]);
  }
}

TEST_F(ImagePullerTest, StartsAnewWhenTheRegistryKnowsNoRanges) {
  std::string noise;
  for (int i = 0; noise.size() < 300'000; ++i)
    noise += Sha256(std::to_string(i));
  const MadeImage image = MakeImage({Tar({{"noise", '0', noise}})});
  registry_.Add(image, "1.0");
  registry_.ranges = false;
  registry_.cut_after = 200'000;
  registry_.cuts_left = 2;
  const fs::path volume = Pull("one", Strategy(image));
  EXPECT_TRUE(ReadFile(volume / "rootfs/noise") == noise);
}

TEST_F(ImagePullerTest, ALyingRegistryLeavesNothingBehind) {
  const MadeImage image = MakeImage({BaseTar(), TopTar()});
  registry_.Add(image, "1.0");
  const std::string layer = DigestOf(Encode(TopTar(), Encoding::kGzip));
  const auto lie = [&](const std::string& digest, std::string content) {
    const std::string truth = std::exchange(registry_.blobs[digest], std::move(content));
    const std::string said = Refused(Strategy(image));
    registry_.blobs[digest] = truth;
    // Layers that were right may stay for the next pull; the wrong one may not.
    EXPECT_FALSE(fs::exists(scratch_.path() / "volumes/shared" /
                            ("image-sha256-" + DigestOf(TopTar()).substr(7))));
    return said;
  };
  std::string other = Encode(Tar({{"evil", '0', "x"}}), Encoding::kGzip);
  other.resize(registry_.blobs[layer].size(), '\0');
  EXPECT_THAT(lie(layer, other), testing::AllOf(HasSubstr(layer), HasSubstr("of digest")));
  EXPECT_THAT(lie(layer, registry_.blobs[layer] + "more"), HasSubstr("longer than"));
  EXPECT_THAT(lie(layer, registry_.blobs[layer].substr(0, 50)), HasSubstr("broke off after 50"));
  registry_.blobs.erase(layer);
  EXPECT_THAT(Refused(Strategy(image)), testing::AllOf(HasSubstr("404"), HasSubstr(layer)));
  registry_.Add(image, "1.0");
  registry_.manifests[image.digest()] += " ";
  EXPECT_THAT(Refused(Strategy(image)), HasSubstr("instead of"));
  EXPECT_THAT(Refused(Strategy(registry_.address + "/x", DigestOf("none"))), HasSubstr("404"));
}

TEST_F(ImagePullerTest, HostileLayersAreRefusedByName) {
  const auto refused = [&](const std::string& tar) {
    const MadeImage image = MakeImage({tar});
    registry_.Add(image, "1.0");
    const std::string said = Refused(Strategy(image));
    EXPECT_EQ(SharedLayers(), 0U);
    return said;
  };
  EXPECT_THAT(refused(Tar({{"../../evil", '0', "x"}})), HasSubstr("entry '../../evil'"));
  EXPECT_THAT(refused(Tar({{"l", '2', "", "/etc"}, {"l/evil", '0', "x"}})),
              HasSubstr("leads out of the folder"));
  EXPECT_THAT(refused(Tar({{"h", '1', "", "../../../etc/passwd"}})), HasSubstr("hard link"));
  EXPECT_THAT(refused("garbage"), HasSubstr("damaged"));
  // The config promises another content.
  MadeImage wrong = MakeImage({BaseTar()});
  std::string config;
  for (auto& [digest, blob] : wrong.blobs) {
    if (blob.starts_with("{")) config = blob;
  }
  std::string changed = config;
  const std::string real = DigestOf(BaseTar());
  changed.replace(changed.find(real), real.size(), DigestOf("other"));
  wrong.blobs[DigestOf(changed)] = changed;
  wrong.manifest.replace(wrong.manifest.find(DigestOf(config)), real.size(), DigestOf(changed));
  registry_.Add(wrong, "1.0");
  EXPECT_THAT(Refused(Strategy(wrong)), HasSubstr("instead of the config's"));
}

TEST_F(ImagePullerTest, AsksForATokenAndChoosesThePlatform) {
  const MadeImage image = MakeImage({BaseTar()});
  registry_.Add(image, "other");
  const Json index(JsonObject{
      {"schemaVersion", 2},
      {"mediaType", "application/vnd.oci.image.index.v1+json"},
      {"manifests",
       JsonArray{JsonObject{{"digest", DigestOf("s390x")},
                            {"size", 5},
                            {"platform", JsonObject{{"os", "linux"}, {"architecture", "s390x"}}}},
                 JsonObject{{"digest", image.digest()},
                            {"size", static_cast<long>(image.manifest.size())},
                            {"platform",
                             JsonObject{{"os", "linux"},
                                        {"architecture", registry::MachineArchitecture()}}}}}}});
  const std::string text = ToText(index);
  registry_.manifests[DigestOf(text)] = text;
  registry_.token = "sesame";
  const Json login = JsonObject{{"username", "me"}, {"password", "secret"}};
  const fs::path volume =
      Pull("one", Strategy(registry_.address + "/some/app", DigestOf(text), login));
  EXPECT_EQ(ReadFile(volume / "rootfs/bin/sh"), "shell");
  EXPECT_EQ(ReadFile(volume / "digest"), DigestOf(text));
  EXPECT_EQ(registry_.token_login, "Basic " + ToBase64("me:secret"));
  EXPECT_THAT(registry_.token_query, HasSubstr("scope=repository%3Asome%2Fapp%3Apull"));
  const Json platform = JsonObject{{"platform", JsonObject{{"architecture", "riscv64"}}}};
  try {
    Pull("two", Strategy(registry_.address + "/some/app", DigestOf(text), platform));
    FAIL();
  } catch (const Failure& failure) {
    EXPECT_THAT(failure.what(), HasSubstr("not made for linux/riscv64, only for linux/s390x"));
  }
}

TEST_F(ImagePullerTest, CancellingStopsAPull) {
  registry_.Add(MakeImage({BaseTar()}), "1.0");
  std::stop_source stop;
  protocol::baggageclaim::VolumeRequest request;
  request.handle = "one";
  request.strategy = Strategy(MakeImage({BaseTar()}));
  TaskGroup group(loop_.executor(), Logger(), "test");
  bool cancelled = false;
  const auto create = [](VolumeStore& store, protocol::baggageclaim::VolumeRequest wanted,
                         std::stop_token token, bool& out) -> Task<void> {
    try {
      co_await store.Create(std::move(wanted), {}, token);
    } catch (const Cancelled&) {
      out = true;
    }
  };
  group.Spawn(create(*store_, request, stop.get_token(), cancelled));
  loop_.Poll();
  stop.request_stop();
  loop_.RunUntilDone(group.Join());
  EXPECT_TRUE(cancelled);
  EXPECT_TRUE(store_->List({}).empty());
}

TEST(ImageRequestTest, ReadsTheSourceAndRefusesWhatItCannotDo) {
  const auto parse = [](std::string_view text) { return ParseImageRequest(*ParseJson(text)); };
  const auto request = parse(R"({"source":{"repository":"busybox","tag":3,"insecure":true,
      "registry_mirror":{"host":"mirror:5000"}},"version":{"digest":""}})");
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(request->tag, "3");
  EXPECT_TRUE(request->options.insecure);
  EXPECT_EQ(request->mirror_host, "mirror:5000");
  EXPECT_THAT(parse(R"({"source":{"repository":"a"},"params":{"format":"oci"}})").error().message,
              HasSubstr("'oci'"));
  EXPECT_THAT(parse(R"({"source":{"repository":"a","aws_region":"eu"}})").error().message,
              HasSubstr("aws_region"));
  EXPECT_FALSE(parse(R"({"source":{"repository":"a/../b"}})"));
  EXPECT_FALSE(parse(R"({"source":{}})"));
  EXPECT_EQ(registry::ParseRepository("busybox")->Text(), "index.docker.io/library/busybox");
  EXPECT_EQ(registry::ParseRepository("docker.io/a/b")->Text(), "index.docker.io/a/b");
  EXPECT_EQ(registry::ParseRepository("localhost:5000/a")->Text(), "localhost:5000/a");
  EXPECT_FALSE(registry::ParseRepository("host.x/A b"));
  EXPECT_FALSE(registry::IsDigest("sha256:../../x"));
}

/// Debian's docker-registry on a free port, ended with the test.
class RealRegistry {
 public:
  explicit RealRegistry(const fs::path& folder) {
    const int probe = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(at);
    ::bind(probe, reinterpret_cast<sockaddr*>(&at), size);
    ::getsockname(probe, reinterpret_cast<sockaddr*>(&at), &size);
    address = "127.0.0.1:" + std::to_string(ntohs(at.sin_port));
    ::close(probe);
    const fs::path config = folder / "registry.yml";
    (void)WriteFile(config,
                    "version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: " +
                        (folder / "registry").string() + "}}\nhttp: {addr: \"" + address + "\"}\n");
    linux::SpawnSpec spec;
    spec.arguments = {"/usr/bin/docker-registry", "serve", config.string()};
    child_ = linux::Spawn(spec).value_or(-1);
  }
  ~RealRegistry() {
    if (child_ <= 0) return;
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
  }
  std::string address;

 private:
  pid_t child_ = -1;
};

TEST_F(ImagePullerTest, PushesToAndPullsFromDebiansRegistry) {
  if (::access("/usr/bin/docker-registry", X_OK) != 0) GTEST_SKIP() << "no docker-registry here";
  const RealRegistry real(scratch_.path());
  registry::Options options;
  options.push = true;
  options.tries_max = 12;  // it may still be starting
  options.retry_pause = std::chrono::milliseconds(50);
  registry::Client client(*registry::ParseRepository(real.address + "/team/app"), options);
  const MadeImage image = MakeImage({BaseTar(), TopTar()});
  for (const auto& [digest, blob] : image.blobs) {
    client.PushBlob({digest, "", blob.size()},
                    [&] { return std::make_unique<archive::TextSource>(blob); }, {});
    EXPECT_TRUE(client.HasBlob(digest, {}));
  }
  EXPECT_EQ(client.ResolveTag("1.0", {}), std::nullopt);
  const std::string type = "application/vnd.oci.image.manifest.v1+json";
  EXPECT_EQ(client.PushManifest("1.0", type, image.manifest, {}), image.digest());
  EXPECT_EQ(client.ResolveTag("1.0", {}), image.digest());
  EXPECT_THAT(client.ListTags({}), testing::ElementsAre("1.0"));
  const fs::path volume = Pull("one", Strategy(real.address + "/team/app", image.digest()));
  EXPECT_EQ(ReadFile(volume / "rootfs/etc/hosts"), "hosts");
  const fs::path by_tag = Pull("two", Strategy(real.address + "/team/app", ""));
  EXPECT_EQ(ReadFile(by_tag / "digest"), image.digest());
}

}  // namespace
}  // namespace pinion::worker
