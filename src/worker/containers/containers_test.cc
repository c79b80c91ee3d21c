#include "worker/containers/containers.h"

#include <csignal>
#include <thread>

#include "base/files.h"
#include "base/text.h"
#include "worker/containers/process_spec.h"
#include "worker/containers/testing.h"

namespace pinion::worker {
namespace {

using protocol::garden::ContainerSpec;
using protocol::garden::ProcessSpec;

class ContainersTest : public testing::ContainersFixture {
 protected:
  std::shared_ptr<ContainerProcess> Run(Container& container, ProcessSpec spec) {
    return loop().RunUntilDone(container.Run(std::move(spec), {}));
  }
  static Task<void> UntilOutput(std::shared_ptr<ContainerProcess> process, std::int64_t bytes) {
    while (process->size[0] < bytes && !process->end)
      co_await process->changed.Wait({});
  }
  ProcessEnd Wait(const std::shared_ptr<ContainerProcess>& process) {
    loop().RunUntilDone(UntilEnd(process));
    return *process->end;
  }
  static std::string Output(const ContainerProcess& process,
                            OutputStream stream = OutputStream::kStdout) {
    std::int64_t offset = 0;
    return ReadOutput(process.folder, stream, offset, 1 << 20).value_or("unreadable");
  }
};

TEST_F(ContainersTest, AProcessGivesItsOutputAndExitStatus) {
  auto container = Create(Spec("first"));
  auto process = Run(*container, Shell("echo out; echo err >&2; id -u; exit 7"));
  const ProcessEnd end = Wait(process);
  EXPECT_EQ(end.exit_status, 7) << end.error;
  EXPECT_EQ(Output(*process), "out\n0\n");
  EXPECT_EQ(Output(*process, OutputStream::kStderr), "err\n");
}

TEST_F(ContainersTest, AShellStartsInAContainerWhoseStepHasEnded) {
  auto container = Create(Spec("kept"));
  Wait(Run(*container, Shell("echo left > /tmp/file; exit 1")));
  auto shell = Run(*container, Shell("cat /tmp/file", "hijack"));
  EXPECT_EQ(Wait(shell).exit_status, 0);
  EXPECT_EQ(Output(*shell), "left\n");
}

TEST_F(ContainersTest, AMissingProgramIsToldApart) {
  auto container = Create(Spec("missing"));
  ProcessSpec spec;
  spec.id = "task";
  spec.path = "no-such-program";
  EXPECT_THROW(Run(*container, spec), ExecutableNotFound);
}

TEST_F(ContainersTest, AnotherWorkerProcessTakesUpARunningContainer) {
  auto container = Create(Spec("survivor"));
  auto process = Run(*container, Shell("echo before; cat; echo after; exit 5"));
  loop().RunUntilDone(UntilOutput(process, 7));
  process.reset();
  container.reset();
  worker_->Restart();

  container = *worker_->containers().Find("survivor");
  process = container->FindProcess("task");
  ASSERT_TRUE(process);
  // The worker's end closed its input, so cat ends and with it the process.
  EXPECT_EQ(Wait(process).exit_status, 5);
  EXPECT_EQ(Output(*process), "before\nafter\n");
  auto shell = Run(*container, Shell("echo again", "hijack"));
  EXPECT_EQ(Wait(shell).exit_status, 0);
}

TEST_F(ContainersTest, InputThatIsAllThereOutlivesTheWorker) {
  auto container = Create(Spec("fed"));
  ProcessSpec spec = Shell("sleep 0.2; cat");
  spec.input = "secret\n";
  auto process = Run(*container, spec);
  const auto folder = process->folder;
  process.reset();
  container.reset();
  worker_->Restart();
  process = (*worker_->containers().Find("fed"))->FindProcess("task");
  ASSERT_TRUE(process);
  EXPECT_EQ(Wait(process).exit_status, 0);
  EXPECT_EQ(Output(*process), "secret\n");
  EXPECT_EQ(ReadFile(folder / "id.json").value_or("").find("secret"), std::string::npos);
  const auto run_folder = worker_->containers().launcher().RunFolder("fed");
  EXPECT_FALSE(std::filesystem::exists(run_folder / "input-1"));
}

TEST_F(ContainersTest, AProcessThatItsSupervisorHasNotHeardOfIsStartedAfterARestart) {
  Create(Spec("unasked"));
  // What a worker leaves that dies between writing a process down and asking for it.
  const ContainerFolder files(folder_.path() / "work/containers/unasked",
                              worker_->containers().launcher().RunFolder("unasked"));
  const auto init_spec =
      MakeInitSpec(Spec("unasked"), Shell("cat; exit 4"), folder_.path() / "rootfs");
  ASSERT_TRUE(init_spec);
  ASSERT_TRUE(files.MakeProcess(1, Shell("cat; exit 4"), init_spec->text, "given\n"));
  worker_->Restart();
  const auto process = (*worker_->containers().Find("unasked"))->FindProcess("task");
  ASSERT_TRUE(process);
  EXPECT_EQ(Wait(process).exit_status, 4);
  EXPECT_EQ(Output(*process), "given\n");
}

TEST_F(ContainersTest, AContainerWhoseFolderIsGoneEndsByItself) {
  auto container = Create(Spec("orphan"));
  Run(*container, Shell("sleep 1000"));
  container.reset();
  const auto run_folder = worker_->containers().launcher().RunFolder("orphan");
  EXPECT_TRUE(std::filesystem::exists(run_folder));
  std::filesystem::remove_all(folder_.path() / "work/containers");
  worker_.reset();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (std::filesystem::exists(run_folder) && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::yield();
  }
  EXPECT_FALSE(std::filesystem::exists(run_folder));
}

TEST_F(ContainersTest, StopSendsTermAndThenKills) {
  ContainerSpec spec = Spec("stopped");
  spec.grace_time = 200'000'000;
  auto container = Create(spec);
  auto polite =
      Run(*container, Shell("trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.01; done"));
  loop().RunUntilDone(UntilOutput(polite, 3));
  loop().RunUntilDone(container->Stop(false, {}));
  EXPECT_EQ(Wait(polite).exit_status, 3);
  EXPECT_EQ(Output(*polite), "up\nbye\n");

  auto stubborn = Run(*container, Shell("trap '' TERM; echo up; while :; do sleep 0.01; done"));
  loop().RunUntilDone(UntilOutput(stubborn, 3));
  loop().RunUntilDone(container->Stop(false, {}));
  EXPECT_EQ(Wait(stubborn).exit_status, 128 + SIGKILL);
}

}  // namespace
}  // namespace pinion::worker
