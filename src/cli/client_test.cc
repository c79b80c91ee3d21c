#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "archive/codec.h"
#include "archive/tree.h"
#include "archive/unpack.h"
#include "base/text.h"
#include "cli/errors.h"
#include "cli/flyrc.h"
#include "cli/refs.h"
#include "cli/render_events.h"
#include "cli/shapes.h"
#include "cli/testing.h"
#include "cli/upload.h"
#include "linux/process.h"

namespace pinion::cli {
namespace {

using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

std::string Envelope(std::string_view name, std::string_view version, std::string_view data) {
  return "{\"event\":\"" + std::string(name) + "\",\"version\":\"" + std::string(version) +
         "\",\"data\":" + std::string(data) + "}";
}

TEST(Refs, PipelinesAreReadWithTheirInstanceVars) {
  const PipelineRef ref = ParsePipelineRef("p/branch:master,n.x:1,\"a.b\":'1',list:[1,2]");
  EXPECT_EQ(ref.name, "p");
  EXPECT_EQ(ToText(*ref.instance_vars.Find("n")), "{\"x\":1}");
  EXPECT_EQ(ref.instance_vars.StringAt("a.b"), "1");
  EXPECT_EQ(ref.Text(), "p/\"a.b\":\"1\",branch:master,list:[1,2],n.x:1");
  EXPECT_EQ(ParsePipelineRef(ref.Text()).instance_vars, ref.instance_vars);
  EXPECT_EQ(QueryText(ref.Query()),
            "?vars.%22a.b%22=%221%22&vars.branch=%22master%22&vars.list=%5B1%2C2%5D&vars.n.x=1");
  EXPECT_THROW(ParsePipelineRef("p/nothing"), CommandError);
}

TEST(Refs, JobsAreSplitAtTheLastSlash) {
  const PartRef job = ParsePartRef("p/branch:a/unit", "job");
  EXPECT_EQ(job.name, "unit");
  EXPECT_EQ(job.Text(), "p/branch:a/unit");
  EXPECT_THROW(ParsePartRef("unit", "job"), CommandError);
  EXPECT_THROW(ParsePartRef("p/", "job"), CommandError);
}

TEST(Refs, InstanceVarsOfPagesAreRead) {
  EXPECT_EQ(ToText(InstanceVarsFromQuery("vars.a=%22x%22&vars.n.x=1&other=2")),
            "{\"a\":\"x\",\"n\":{\"x\":1}}");
  EXPECT_TRUE(InstanceVarsFromQuery("").IsNull());
}

TEST(Refs, PathsAreEncoded) {
  EXPECT_EQ(Path("/api/:a/x/:b", {"a/b", "c d"}), "/api/a%2Fb/x/c%20d");
}

TEST(FlyRcFile, KeepsWhatItDoesNotKnow) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / ".flyrc";
  ASSERT_TRUE(WriteFile(path,
                        "extra: 1\ntargets:\n  a:\n    api: http://a\n    note: keep\n"
                        "    insecure: true\n  b:\n    api: http://b\n    team: t\n",
                        0644));
  FlyRc file(path);
  file.Load();
  EXPECT_EQ(file.targets.at("a").team, "main");
  EXPECT_TRUE(file.targets.at("a").insecure);
  file.targets.at("b").token = Token{"bearer", "secret"};
  file.Save();

  FlyRc again(path);
  again.Load();
  EXPECT_EQ(again.targets.at("b").token->value, "secret");
  const std::string text = ReadFile(path).value();
  EXPECT_THAT(text, HasSubstr("extra: 1"));
  EXPECT_THAT(text, HasSubstr("note: keep"));
  struct stat status{};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST(FlyRcFile, NamesItselfWhenItIsBroken) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / ".flyrc";
  ASSERT_TRUE(WriteFile(path, "targets: [", 0600));
  FlyRc file(path);
  try {
    file.Load();
    FAIL() << "a broken file was read";
  } catch (const CommandError& error) {
    EXPECT_THAT(error.what(), HasSubstr(path.string()));
  }
}

TEST(EventRendererOutput, TimestampsBeginEveryLine) {
  ::setenv("TZ", "UTC", 1);
  ::tzset();
  std::ostringstream out;
  EventRenderer renderer(out, false, {.timestamps = true});
  EXPECT_FALSE(renderer.Render(Envelope("log", "5.1", R"({"time":1700000003,"payload":"a\nb"})")));
  EXPECT_FALSE(renderer.Render(Envelope("log", "5.1", R"({"time":1700000004,"payload":"c\n"})")));
  EXPECT_FALSE(renderer.Render(Envelope("error", "4.1", R"({"message":"boom"})")));
  EXPECT_TRUE(
      renderer.Render(Envelope("status", "1.0", R"({"time":1700000005,"status":"errored"})")));
  EXPECT_EQ(out.str(), "22:13:23  a\n22:13:23  bc\n          boom\n22:13:25  errored\n");
  EXPECT_EQ(renderer.exit_status(), 2);
}

TEST(EventRendererOutput, ExitStatusIsThatOfTheLastTask) {
  std::ostringstream out;
  EventRenderer renderer(out, true, {});
  EXPECT_FALSE(renderer.Render(Envelope("finish-task", "4.0", R"({"exit_status":3})")));
  EXPECT_FALSE(renderer.Render(Envelope("finish-task", "4.0", R"({"exit_status":0})")));
  EXPECT_TRUE(renderer.Render(Envelope("status", "1.0", R"({"status":"aborted"})")));
  EXPECT_EQ(renderer.exit_status(), 3);
  EXPECT_EQ(out.str(), "\x1b[35maborted\x1b[0m\n");
}

TEST(EventRendererOutput, UnknownEventsEndTheWatchUnlessIgnored) {
  std::ostringstream out;
  EventRenderer strict(out, false, {});
  EXPECT_TRUE(strict.Render(Envelope("banana", "1.0", "{}")));
  EXPECT_EQ(strict.exit_status(), 255);
  EventRenderer lenient(out, false, {.ignore_unknown = true});
  EXPECT_FALSE(lenient.Render(Envelope("banana", "1.0", "{}")));
  EXPECT_FALSE(lenient.Render(Envelope("log", "9.0", "{}")));
  EventRenderer broken(out, false, {.ignore_unknown = true});
  EXPECT_TRUE(broken.Render("{"));
  EXPECT_EQ(broken.exit_status(), 255);
}

TEST(Shapes, AnswersAreBroughtIntoTheFixedForm) {
  const auto job =
      ParseJson(R"({"name":"j","id":1,"extra":true,"pipeline_instance_vars":{"z":1,"a":2}})");
  EXPECT_EQ(ToText(Shaped(*job, Shape::kJob)),
            R"({"id":1,"name":"j","team_name":"","pipeline_id":0,"pipeline_name":"",)"
            R"("pipeline_instance_vars":{"a":2,"z":1},"next_build":null,"finished_build":null})");
}

/// The names in a gzip tar stream, by unpacking it.
std::vector<std::string> Unpacked(const std::string& bytes) {
  const TemporaryFolder folder;
  archive::TextSource source(bytes);
  const auto tar = archive::MakeDecoder(source, archive::Encoding::kGzip);
  const auto root = archive::OpenFolder(folder.path());
  archive::Unpack(*tar, root.get(), {.keep_owners = false});
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(folder.path()))
    names.push_back(fs::relative(entry.path(), folder.path()).string());
  std::ranges::sort(names);
  return names;
}

TEST(Uploads, LeaveOutWhatGitIgnores) {
  const TemporaryFolder folder;
  const auto write = [&](const std::string& name, std::string_view text) {
    fs::create_directories((folder.path() / name).parent_path());
    ASSERT_TRUE(WriteFile(folder.path() / name, text));
  };
  write("kept/ünïcode.txt", "1");
  write("ignored.log", "2");
  write(".gitignore", "*.log\n");
  archive::TextSink plain;
  PackFolder(folder.path(), false, plain);
  EXPECT_THAT(Unpacked(plain.text()), testing::Contains("ignored.log"));

  const auto made = linux::RunCommand({"git", "init", "-q", folder.path().string()}, "",
                                      std::chrono::seconds(20));
  if (!made || made->exit_status != 0) GTEST_SKIP() << "git cannot be run";
  archive::TextSink tracked;
  PackFolder(folder.path(), false, tracked);
  EXPECT_THAT(Unpacked(tracked.text()),
              testing::ElementsAre(".gitignore", "kept", "kept/ünïcode.txt"));
  archive::TextSink all;
  PackFolder(folder.path(), true, all);
  EXPECT_THAT(Unpacked(all.text()), testing::Contains("ignored.log"));
}

class ClientTest : public testing::Test {
 protected:
  CannedServer server_{SampleAnswers()};
  Client client_{server_.url()};
};

TEST_F(ClientTest, TablesHaveHeadersAndColoursOnTerminals) {
  client_.terminal = true;
  const Ran ran = client_.Run({"-t", "x", "jobs", "-p", "p"});
  EXPECT_EQ(ran.status, 0) << ran.err;
  EXPECT_EQ(ran.out,
            "\x1b[1mname\x1b[22m     \x1b[1mpaused\x1b[22m  \x1b[1mstatus\x1b[22m     "
            "\x1b[1mnext\x1b[22m   \n"
            "j        no      \x1b[32msucceeded\x1b[0m  n/a    \n"
            "job-two  \x1b[36myes\x1b[0m     n/a        \x1b[33mstarted\x1b[0m\n");
}

TEST_F(ClientTest, LogsInWithAPasswordAndSavesTheTarget) {
  const Ran ran =
      client_.Run({"-t", "new", "login", "-c", server_.url() + "/", "-u", "joe", "-p", "se cret&"});
  EXPECT_EQ(ran.status, 0) << ran.err;
  EXPECT_EQ(ran.out, "logging in to team 'main'\n\n\ntarget saved\n");
  const std::string form = server_.TakeRequests().at(2);
  EXPECT_THAT(form, HasSubstr("password=se%20cret%26"));
  FlyRc file(client_.home() / ".flyrc");
  file.Load();
  EXPECT_EQ(file.targets.at("new").api, server_.url());
  EXPECT_EQ(file.targets.at("new").token->type, "bearer");
}

TEST_F(ClientTest, LogsInWithAPastedToken) {
  const Ran ran = client_.Run({"-t", "x", "login"}, "nonsense\nBearer pasted\n");
  EXPECT_EQ(ran.status, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("/login?fly_port="));
  EXPECT_THAT(ran.out, HasSubstr("token must be of the format"));
  EXPECT_THAT(server_.Tokens(), testing::Contains("Bearer pasted"));
}

TEST_F(ClientTest, RefusedPasswordsSayWhy) {
  server_.Set("POST /sky/issuer/token",
              {.status = 401,
               .body = R"({"error":"access_denied","error_description":"Invalid password"})"});
  const Ran ran = client_.Run({"-t", "x", "login", "-u", "joe", "-p", "wrong"});
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.err, HasSubstr("Invalid password"));
  EXPECT_THAT(client_.FlyRcText(), HasSubstr("AAAA"));
}

TEST_F(ClientTest, SaysHowToLogInWhenTheTokenIsNoLongerGood) {
  server_.Set("GET /api/v1/teams/main/pipelines", {.status = 401});
  const Ran ran = client_.Run({"-t", "x", "pipelines"});
  EXPECT_EQ(ran.status, 1);
  EXPECT_EQ(ran.err, "not authorized. run the following to log in:\n\n    fly -t x login\n\n");
}

TEST_F(ClientTest, SaysThatTheServerCannotBeReached) {
  Client client("http://127.0.0.1:1");
  const Ran ran = client.Run({"-t", "x", "pipelines"});
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.err, HasSubstr("could not reach the Concourse server called x:"));
}

TEST_F(ClientTest, RefusesServersOfOtherVersions) {
  server_.Set("GET /api/v1/info", {.body = R"({"version":"7.1.0"})"});
  const Ran ran = client_.Run({"-t", "x", "pipelines"});
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.err, HasSubstr("cowardly refusing to run"));
  server_.Set("GET /api/v1/info", {.body = R"({"version":"8.2.9"})"});
  const Ran warned = client_.Run({"-t", "x", "pipelines"});
  EXPECT_EQ(warned.status, 0);
  EXPECT_THAT(warned.err, HasSubstr("WARNING:"));
}

TEST_F(ClientTest, NearNamesAreSuggested) {
  const Ran command = client_.Run({"-t", "x", "set-pipelin"});
  EXPECT_EQ(command.status, 1);
  EXPECT_THAT(command.err, HasSubstr("did you mean set-pipeline?"));
  const Ran option = client_.Run({"-t", "x", "jobs", "--pipelin", "p"});
  EXPECT_EQ(option.status, 1);
  EXPECT_THAT(option.err, HasSubstr("did you mean --pipeline?"));
}

TEST_F(ClientTest, HelpIsShownForEveryCommand) {
  const Ran overview = client_.Run({});
  EXPECT_EQ(overview.status, 0);
  for (const Command& command : Commands()) {
    EXPECT_THAT(overview.out, HasSubstr(std::string(command.name)));
    const Ran ran = client_.Run({std::string(command.name), "--help"});
    if (command.name == "help") continue;
    EXPECT_EQ(ran.status, 0) << command.name << ran.err;
    EXPECT_THAT(ran.out, HasSubstr("Usage: fly [-t TARGET] " + std::string(command.name)));
  }
}

TEST_F(ClientTest, QuestionsAreAskedUntilTheAnswerIsClear) {
  const Ran no = client_.Run({"-t", "x", "destroy-pipeline", "-p", "p"}, "maybe\nn\n");
  EXPECT_EQ(no.status, 0);
  EXPECT_THAT(no.out, HasSubstr("Unknown input"));
  EXPECT_THAT(no.out, HasSubstr("bailing out"));
  const Ran yes = client_.Run({"-t", "x", "destroy-pipeline", "-p", "p"}, "YES\n");
  EXPECT_THAT(yes.out, HasSubstr("`p` deleted"));
  const Ran end = client_.Run({"-t", "x", "destroy-pipeline", "-p", "p"});
  EXPECT_THAT(end.out, HasSubstr("bailing out"));
}

TEST_F(ClientTest, TokensAreNotPrinted) {
  const Ran ran = client_.Run({"-t", "x", "--verbose", "pipelines"});
  EXPECT_THAT(ran.err, HasSubstr("GET /api/v1/teams/main/pipelines"));
  EXPECT_THAT(ran.err, Not(HasSubstr("AAAA")));
}

TEST_F(ClientTest, HijackTriesShWhenThereIsNoBash) {
  server_.Set("GET /api/v1/teams/main/containers",
              {.body = R"([{"id":"h","state":"created","type":"task","step_name":"unit"}])"});
  const Ran ran = client_.Run({"-t", "x", "hijack", "-j", "p/j", "-s", "unit"}, "typed\n");
  EXPECT_EQ(ran.status, 5) << ran.err;
  EXPECT_EQ(ran.out, "typed\n");
  EXPECT_THAT(ran.err, HasSubstr("retrying with \"sh\""));
  EXPECT_THAT(ran.err, HasSubstr("bye\n"));
  EXPECT_THAT(server_.TakeRequests(),
              testing::Contains("GET /api/v1/teams/main/containers?job_name=j&pipeline_name=p&"
                                "step_name=unit"));
}

TEST_F(ClientTest, HijackRefusesWhenNoContainerMatches) {
  server_.Set("GET /api/v1/teams/main/containers", {.body = "[]"});
  const Ran ran = client_.Run({"-t", "x", "hijack", "-b", "5", "ls"});
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.err, HasSubstr("no containers matched"));
}

TEST_F(ClientTest, ExecuteUploadsRunsAndFetches) {
  const TemporaryFolder work;
  ASSERT_TRUE(WriteFile(work.path() / "task.yml",
                        "platform: linux\nimage_resource: {type: mock, source: {}}\n"
                        "params: {NAME: ((name)), FROM_HERE: no}\n"
                        "inputs: [{name: src}]\noutputs: [{name: made}]\n"
                        "run: {path: ls, args: [-l]}\n"));
  fs::create_directories(work.path() / "src");
  ASSERT_TRUE(WriteFile(work.path() / "src/file", "content"));
  archive::TextSink packed;
  PackFolder(work.path() / "src", true, packed);
  server_.Set("POST /api/v1/teams/main/artifacts", {.status = 201, .body = R"({"id":11})"});
  server_.Set("POST /api/v1/teams/main/builds", {.status = 201, .body = R"({"id":5})"});
  server_.Set("GET /api/v1/builds/5/artifacts", {.body = R"([{"id":12,"name":"made"}])"});
  server_.Set("GET /api/v1/teams/main/artifacts/12",
              {.body = packed.text(), .type = "application/octet-stream"});
  client_.environment["FROM_HERE"] = "yes";
  const std::string folder = work.path();
  const Ran ran = client_.Run({"-t", "x", "execute", "-c", folder + "/task.yml", "-i",
                               "src=" + folder + "/src", "-o", "made=" + folder + "/out/deep", "-v",
                               "name=me", "--tag", "fast", "--", "more"});
  EXPECT_EQ(ran.status, 7) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("executing build 5 at " + server_.url() + "/builds/5\n"));
  EXPECT_THAT(ran.out, HasSubstr("hello\nworld\n"));
  EXPECT_EQ(ReadFile(work.path() / "out/deep/file").value_or(""), "content");

  const auto requests = server_.TakeRequests();
  EXPECT_EQ(requests.at(1), "POST /api/v1/teams/main/artifacts?platform=linux&tags=fast");
  EXPECT_EQ(Unpacked(requests.at(2)), std::vector<std::string>{"file"});
  const auto plan = ParseJson(requests.at(4));
  ASSERT_TRUE(plan) << requests.at(4);
  const std::string text = ToText(*plan);
  EXPECT_THAT(text, HasSubstr(R"("artifact_input":{"artifact_id":11,"name":"src"})"));
  EXPECT_THAT(text, HasSubstr(R"("args":["-l","more"])"));
  EXPECT_THAT(text, HasSubstr(R"("params":{"FROM_HERE":"yes","NAME":"me"})"));
  EXPECT_THAT(text, HasSubstr(R"("artifact_output":{"name":"made"})"));
}

TEST_F(ClientTest, ExecuteNamesInputsThatAreMissing) {
  const TemporaryFolder work;
  ASSERT_TRUE(WriteFile(work.path() / "task.yml",
                        "platform: linux\ninputs: [{name: gone}]\nrun: {path: ls}\n"));
  const Ran ran = client_.Run({"-t", "x", "execute", "-c", work.path() / "task.yml"});
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.err, HasSubstr("missing required input `gone`"));
}

}  // namespace
}  // namespace pinion::cli
