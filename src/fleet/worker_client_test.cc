#include "fleet/worker_client.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <functional>

#include "fleet/fake_worker.h"
#include "fleet/streaming.h"
#include "fleet/worker_calls.h"

namespace pinion::fleet {
namespace {

using namespace std::chrono_literals;
using protocol::garden::ContainerSpec;
using protocol::garden::ProcessSpec;

/// A fake worker, of Pinion's or of upstream's kind, and a client of it.
class WorkerClientTest : public testing::TestWithParam<bool> {
 protected:
  WorkerClientTest() {
    WorkerClientOptions options;
    options.name = "w";
    options.garden_url = fake_.url();
    options.baggageclaim_url = fake_.url();
    options.first_pause = 1ms;
    options.longest_pause = 2ms;
    options.unreachable_limit = 2s;
    client_ = MakeWorkerClient(loop_.executor(), *timers_, Logger(), options);
  }
  ~WorkerClientTest() override {
    loop_.RunUntilDone(fake_.Shutdown());
    if (client_) loop_.RunUntilDone(client_->Close());
    client_.reset();
  }

  template <class T>
  T Run(Task<T> task) {
    return loop_.RunUntilDone(std::move(task));
  }

  void MakeContainer(std::string handle) {
    ContainerSpec spec;
    spec.handle = std::move(handle);
    Run(client_->CreateContainer(spec, 5, {}));
  }
  std::unique_ptr<ProcessFollower> Follow(std::string handle, std::uint64_t out = 0,
                                          std::uint64_t err = 0, std::string input = "") {
    ProcessSpec spec;
    spec.id = "task";
    spec.path = "sh";
    return Run(client_->RunProcess(std::move(handle), spec, std::move(input), out, err, 5, {}));
  }
  /// What it prints until its end.
  struct Read {
    std::string bytes[2];
    ProcessOutput end;
  };
  Read ReadAll(ProcessFollower& follower, std::uint64_t out = 0, std::uint64_t err = 0) {
    Read read;
    const std::uint64_t start[2] = {out, err};
    for (;;) {
      ProcessOutput output = Run(follower.Next({}));
      if (output.stream == 0) {
        read.end = std::move(output);
        return read;
      }
      std::string& bytes = read.bytes[output.stream - 1];
      EXPECT_EQ(output.offset, start[output.stream - 1] + bytes.size());
      bytes += output.bytes;
    }
  }
  FakeWorker::Process& Process(const std::string& handle) {
    return fake_.containers.at(handle).processes.at("task");
  }
  Error ErrorOf(const std::function<void()>& action) {
    try {
      action();
    } catch (const Failure& failure) {
      return failure.error();
    }
    ADD_FAILURE() << "nothing failed";
    return {};
  }

  SystemClock clock_;
  Loop loop_{"test"};
  std::unique_ptr<Timers> timers_ = MakeSystemTimers(loop_.executor(), clock_);
  FakeWorker fake_{loop_.executor(), *timers_, GetParam()};
  std::unique_ptr<WorkerClient> client_;
};
INSTANTIATE_TEST_SUITE_P(Of, WorkerClientTest, testing::Bool(), [](const auto& parameter) {
  return parameter.param ? "Pinion" : "Upstream";
});

std::string Numbered(int lines) {
  std::string text;
  for (int i = 0; i < lines; ++i)
    text += "line " + std::to_string(i) + "\n";
  return text;
}

TEST_P(WorkerClientTest, ContainersAreMadeOnceListedAndDestroyed) {
  MakeContainer("a/b c");
  MakeContainer("a/b c");
  EXPECT_EQ(fake_.containers.size(), 1U);
  EXPECT_EQ(fake_.last_epoch, "5");
  EXPECT_TRUE(Run(client_->ContainerExists("a/b c", {})));
  EXPECT_FALSE(Run(client_->ContainerExists("other", {})));
  EXPECT_EQ(Run(client_->ListContainers({})), std::vector<std::string>{"a/b c"});
  Run(client_->SetProperty("a/b c", "k:x", "v", {}));
  EXPECT_EQ(Run(client_->Properties("a/b c", {})),
            (std::map<std::string, std::string>{{"k:x", "v"}}));
  Run(client_->DestroyContainer("a/b c", {}));
  Run(client_->DestroyContainer("a/b c", {}));
  EXPECT_TRUE(fake_.containers.empty());
}

TEST_P(WorkerClientTest, ErrorsNameTheWorkerAndTheContainer) {
  const Error error = ErrorOf([&] { Run(client_->StopContainer("ghost", false, {})); });
  EXPECT_EQ(error.kind, ErrorKind::kNotFound);
  EXPECT_EQ(error.message, "worker 'w': stopping container 'ghost': no such container");
  MakeContainer("c");
  const Error missing = ErrorOf([&] {
    ProcessSpec spec;
    spec.id = "task";
    spec.path = "nonexistent";
    Run(client_->RunProcess("c", spec, "", 0, 0, 0, {}));
  });
  EXPECT_EQ(missing.kind, ErrorKind::kNotFound);
  EXPECT_NE(missing.message.find("'c': no such executable"), std::string::npos) << missing.message;
}

TEST_P(WorkerClientTest, AProcessIsStartedWithItsInputAndFollowedToItsEnd) {
  MakeContainer("c");
  const std::string input = std::string(40'000, 'x') + "\xc3\xa9";
  auto follower = Follow("c", 0, 0, input);
  FakeWorker::Process& process = Process("c");
  process.output[0] = Numbered(1000);
  process.output[1] = "warning\n";
  fake_.Changed();
  ProcessOutput first = Run(follower->Next({}));
  EXPECT_EQ(first.offset, 0U);
  process.exit_status = 3;
  fake_.Changed();
  const Read read = ReadAll(*follower, first.stream == 1 ? first.bytes.size() : 0,
                            first.stream == 2 ? first.bytes.size() : 0);
  EXPECT_EQ((first.stream == 1 ? first.bytes : "") + read.bytes[0], Numbered(1000));
  EXPECT_EQ((first.stream == 2 ? first.bytes : "") + read.bytes[1], "warning\n");
  EXPECT_EQ(read.end.exit_status, 3);
  EXPECT_EQ(process.input, input);
  EXPECT_TRUE(process.input_ended);
}

TEST_P(WorkerClientTest, ASecondFollowerFindsTheProcessThatRuns) {
  MakeContainer("c");
  Follow("c").reset();
  Process("c").output[0] = "0123456789";
  auto again = Follow("c", 4, 0);
  fake_.Changed();
  Process("c").exit_status = 0;
  fake_.Changed();
  const Read read = ReadAll(*again, 4, 0);
  if (GetParam()) {
    EXPECT_EQ(read.bytes[0], "456789");
    EXPECT_EQ(fake_.last_acknowledged, "4,0");
  }
  EXPECT_EQ(read.end.exit_status, 0);
  EXPECT_EQ(fake_.started, 1);
}

TEST_P(WorkerClientTest, AFollowerReconnectsAndGetsEachByteOnce) {
  MakeContainer("c");
  auto follower = Follow("c");
  FakeWorker::Process& process = Process("c");
  process.output[0] = Numbered(2000);
  process.exit_status = 0;
  fake_.break_after_bytes = 3001;
  fake_.Changed();
  if (!GetParam()) fake_.break_after_bytes = 0;  // upstream: what is lost while away is lost
  const Read read = ReadAll(*follower);
  EXPECT_EQ(read.bytes[0], Numbered(2000));
  EXPECT_EQ(read.end.exit_status, 0);
}

TEST_P(WorkerClientTest, StoredOutputIsAcknowledgedAMegabyteAtATime) {
  if (!GetParam()) GTEST_SKIP() << "upstream's workers keep no output";
  MakeContainer("c");
  auto follower = Follow("c");
  follower->Acknowledge(1000, 1000);
  follower->Acknowledge(1 << 20, 0);
  auto wait = [](FakeWorker& fake, Timers& timers) -> Task<void> {
    while (fake.last_acknowledged == "0,0")
      co_await timers.Sleep(1ms, {});
  };
  Run(wait(fake_, *timers_));
  EXPECT_EQ(fake_.last_acknowledged, "1048576,1000");
}

TEST_P(WorkerClientTest, ABusyWorkerIsAskedAgain) {
  fake_.unavailable_answers = 3;
  MakeContainer("c");
  EXPECT_TRUE(fake_.containers.contains("c"));
}

TEST_P(WorkerClientTest, AWorkerThatIsGoneIsGivenUpAndNamed) {
  WorkerClientOptions options;
  options.name = "gone";
  options.garden_url = "http://127.0.0.1:1";
  options.baggageclaim_url = "http://127.0.0.1:1";
  options.first_pause = 1ms;
  options.unreachable_limit = 20ms;
  auto gone = MakeWorkerClient(loop_.executor(), *timers_, Logger(), options);
  const Error error = ErrorOf([&] { Run(gone->ListContainers({})); });
  EXPECT_EQ(error.kind, ErrorKind::kUnavailable);
  EXPECT_TRUE(error.message.starts_with("worker 'gone': listing containers: ")) << error.message;
  Run(gone->Close());
}

TEST_P(WorkerClientTest, WaitingForOutputStopsWhenAsked) {
  MakeContainer("c");
  auto follower = Follow("c");
  std::stop_source stop;
  const auto timer = timers_->After(5ms, [&] { stop.request_stop(); });
  EXPECT_THROW(Run(follower->Next(stop.get_token())), Cancelled);
}

TEST_P(WorkerClientTest, StoppingAContainerEndsItsProcess) {
  MakeContainer("c");
  auto follower = Follow("c");
  Run(client_->StopContainer("c", false, {}));
  EXPECT_EQ(ReadAll(*follower).end.exit_status, 143);
}

TEST_P(WorkerClientTest, UpstreamsWorkersKeepTheExitStatusInAProperty) {
  if (GetParam()) GTEST_SKIP() << "Pinion's workers remember it";
  MakeContainer("c");
  auto follower = Follow("c");
  Process("c").exit_status = 4;
  fake_.Changed();
  EXPECT_EQ(ReadAll(*follower).end.exit_status, 4);
  auto wait = [](FakeWorker& fake, Timers& timers) -> Task<void> {
    while (!fake.containers["c"].properties.contains("concourse:exit-status")) {
      co_await timers.Sleep(1ms, {});
    }
  };
  Run(wait(fake_, *timers_));
  fake_.containers["c"].processes.clear();
  auto again = Follow("c");
  EXPECT_EQ(ReadAll(*again).end.exit_status, 4);
}

TEST_P(WorkerClientTest, AnInteractiveProcessTakesInputAndAWindowSize) {
  MakeContainer("c");
  ProcessSpec spec;
  spec.path = "bash";
  spec.tty.emplace();
  auto process = Run(client_->RunInteractive("c", spec, {}));
  Run(process->SetWindowSize(100, 40));
  Run(process->WriteInput("exit\n"));
  Run(process->CloseInput());
  FakeWorker::Process& seen = fake_.containers["c"].processes["generated"];
  seen.output[0] = "bye";
  seen.exit_status = 0;
  fake_.Changed();
  const ProcessOutput output = Run(process->Next({}));
  EXPECT_EQ(output.bytes, "bye");
  EXPECT_EQ(Run(process->Next({})).exit_status, 0);
  EXPECT_EQ(seen.input, "exit\n");
  EXPECT_TRUE(seen.spec.ends_with("resized"));
}

TEST_P(WorkerClientTest, VolumesAreMadeOnceAndDestroyed) {
  fake_.pending_polls = 3;
  protocol::baggageclaim::VolumeRequest request;
  request.handle = "v";
  request.strategy = JsonObject{{"type", "empty"}};
  EXPECT_EQ(Run(client_->CreateVolume(request, {})).path, "/volumes/v");
  EXPECT_EQ(Run(client_->CreateVolume(request, {})).handle, "v");
  EXPECT_EQ(Run(client_->ListVolumes({})), std::vector<std::string>{"v"});
  EXPECT_TRUE(Run(client_->FindVolume("v", {})));
  EXPECT_FALSE(Run(client_->FindVolume("w", {})));
  Run(client_->SetPrivileged("v", true, {}));
  EXPECT_TRUE(fake_.volumes["v"].privileged);
  Run(client_->DestroyVolume("v", {}));
  Run(client_->DestroyVolume("v", {}));
  EXPECT_EQ(Run(client_->PullsImages({})), GetParam());
}

std::string TarEntry(std::string_view name, std::string_view content, char kind,
                     std::optional<std::size_t> size = {}) {
  std::string header(512, '\0');
  std::ranges::copy(name, header.begin());
  char field[13];
  std::snprintf(field, sizeof field, "%011zo", size.value_or(content.size()));
  header.replace(124, 11, field, 11);
  header[156] = kind;
  header.replace(257, 5, "ustar");
  header.replace(148, 8, "        ");
  unsigned sum = 0;
  for (const char c : header)
    sum += static_cast<unsigned char>(c);
  std::snprintf(field, sizeof field, "%06o", sum);
  header.replace(148, 6, field, 6);
  header[154] = '\0';
  std::string entry = header + std::string(content);
  entry.append((512 - content.size() % 512) % 512, '\0');
  return entry;
}

TEST_P(WorkerClientTest, AFileIsReadFromItsTar) {
  FakeWorker::Volume& volume = fake_.volumes["v"];
  volume.files["ci/task.yml"] =
      TarEntry("task.yml", "platform: linux\n", '0') + std::string(1024, '\0');
  volume.files["big"] = TarEntry("big", std::string(5000, 'x'), '0');
  volume.files["dir"] = TarEntry("dir/", "", '5') + std::string(1024, '\0');
  volume.files["pax"] =
      TarEntry("h", "14 size=3000\n\n", 'x') + TarEntry("long", std::string(3000, 'y'), '0', 0);
  volume.files["garbage"] = std::string(2000, 'z');
  volume.files["cut"] = TarEntry("cut", std::string(5000, 'x'), '0').substr(0, 2000);
  EXPECT_EQ(Run(client_->ReadFile("v", "ci/task.yml", 1000, {})), "platform: linux\n");
  EXPECT_EQ(Run(client_->ReadFile("v", "pax", 3000, {})), std::string(3000, 'y'));
  const auto kind = [&](std::string path) {
    return ErrorOf([&] { Run(client_->ReadFile("v", path, 1000, {})); }).kind;
  };
  EXPECT_EQ(kind("big"), ErrorKind::kTooLarge);
  EXPECT_EQ(kind("dir"), ErrorKind::kNotFound);
  EXPECT_EQ(kind("absent"), ErrorKind::kNotFound);
  EXPECT_EQ(kind("garbage"), ErrorKind::kInvalid);
  fake_.volumes["v"].files["big"] = volume.files["cut"];
  EXPECT_EQ(ErrorOf([&] { Run(client_->ReadFile("v", "cut", 9000, {})); }).kind,
            ErrorKind::kInvalid);
}

TEST_P(WorkerClientTest, AVolumeIsCopiedToAnotherWorker) {
  FakeWorker other(loop_.executor(), *timers_, true);
  WorkerClientOptions options;
  options.name = "other";
  options.garden_url = options.baggageclaim_url = other.url();
  auto other_client = MakeWorkerClient(loop_.executor(), *timers_, Logger(), options);
  std::string content;
  for (int i = 0; i < 100'000; ++i)
    content += std::to_string(i);
  fake_.volumes["from"].files["."] = content;
  other.volumes["to"];
  Run(CopyVolume({client_.get(), "from", "."}, {other_client.get(), "to", "in"}, "zstd", {}));
  EXPECT_TRUE(other.volumes["to"].files["in"] == content);
  const Error error = ErrorOf([&] {
    Run(CopyVolume({client_.get(), "absent", "."}, {other_client.get(), "to", "."}, "zstd", {}));
  });
  EXPECT_EQ(error.kind, ErrorKind::kNotFound);
  EXPECT_NE(error.message.find("worker 'other'"), std::string::npos);
  Run(other_client->Close());
  Run(other.Shutdown());
}

}  // namespace
}  // namespace pinion::fleet
