#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>

#include "base/text.h"
#include "worker/containers/containers.h"
#include "worker/containers/limits.h"
#include "worker/containers/testing.h"

// What containers may and may not do, who they are, and that nothing of them is left.
namespace pinion::worker {
namespace {

namespace fs = std::filesystem;
using protocol::garden::ContainerSpec;
using protocol::garden::ProcessSpec;

class IsolationTest : public testing::ContainersFixture {
 protected:
  static ProcessSpec Script(const std::string& script) {
    return Shell("exec 2>&1; " + script, "run");
  }
  struct Outcome {
    std::string output;
    int status = 0;
  };
  Outcome Run(Container& container, ProcessSpec spec) {
    auto process = loop().RunUntilDone(container.Run(std::move(spec), {}));
    loop().RunUntilDone(UntilEnd(process));
    EXPECT_EQ(process->end->error, "");
    std::int64_t offset = 0;
    return {*ReadOutput(process->folder, OutputStream::kStdout, offset, 1 << 20),
            process->end->exit_status};
  }
  std::string Output(Container& container, const std::string& script) {
    return Run(container, Script(script)).output;
  }
  std::string CgroupFile(const std::string& controller, const std::string& handle,
                         const std::string& file) {
    const Launcher& launcher = worker_->containers().launcher();
    const auto root = launcher.cgroups().Controller(controller);
    if (!root) return "no controller";
    return std::string(Trim(ReadFile(*root / launcher.CgroupOf(handle) / file).value_or("absent")));
  }
};

TEST_F(IsolationTest, RootInsideIsNobodyOutside) {
  auto container = Create(Spec("mapped"));
  EXPECT_EQ(Output(*container, "id -u; touch /tmp/mine; stat -c %u /tmp/mine"), "0\n0\n");
  struct stat status{};
  ASSERT_EQ(::stat((rootfs() / "tmp/mine").c_str(), &status), 0);
  EXPECT_EQ(status.st_uid, kHostIdBase);
  EXPECT_EQ(status.st_gid, kHostIdBase);
}

TEST_F(IsolationTest, CapabilitiesAreTheCustomaryFewAndGoneForOtherUsers) {
  auto container = Create(Spec("capabilities"));
  EXPECT_EQ(Output(*container, "grep CapEff /proc/self/status"), "CapEff:\t00000000a80425fb\n");
  ProcessSpec spec = Script("grep CapEff /proc/self/status");
  spec.user = "build";
  EXPECT_EQ(Run(*container, spec).output, "CapEff:\t0000000000000000\n");
}

TEST_F(IsolationTest, SystemCallsOutsideTheListAreRefused) {
  auto container = Create(Spec("seccomp"));
  EXPECT_EQ(Output(*container, "grep Seccomp: /proc/self/status"), "Seccomp:\t2\n");
  EXPECT_NE(Run(*container, Script("unshare -m true")).status, 0);
  EXPECT_NE(Run(*container, Script("mount -t tmpfs tmpfs /tmp")).status, 0);
  EXPECT_NE(Run(*container, Script("mknod /tmp/disk b 254 0")).status, 0);
}

TEST_F(IsolationTest, PrivilegedContainersAreNot) {
  ASSERT_NO_FATAL_FAILURE(testing::MakeRootfs(folder_.path() / "privileged", 0));
  ContainerSpec spec = Spec("privileged");
  spec.rootfs = "raw://" + (folder_.path() / "privileged").string();
  spec.privileged = true;
  auto container = Create(spec);
  const Outcome outcome = Run(*container, Script("mount -t tmpfs tmpfs /tmp && touch /tmp/x && "
                                                 "ls /dev/fuse && mknod /tmp/null c 1 3"));
  EXPECT_EQ(outcome.output, "/dev/fuse\n");
  EXPECT_EQ(outcome.status, 0);
}

TEST_F(IsolationTest, DeviceNodesOfAnImageCannotBeUsed) {
  // The kernel's log; a disk would do the same.
  ASSERT_EQ(::mknod((rootfs() / "tmp/kmsg").c_str(), S_IFCHR | 0666, makedev(1, 11)), 0);
  ASSERT_EQ(::lchown((rootfs() / "tmp/kmsg").c_str(), kHostIdBase, kHostIdBase), 0);
  auto container = Create(Spec("devices"));
  EXPECT_NE(Run(*container, Script("head -c 1 /tmp/kmsg")).status, 0);
  EXPECT_EQ(Output(*container, "head -c 1 /dev/zero /dev/urandom > /dev/null && echo fine"),
            "fine\n");
}

TEST_F(IsolationTest, MemoryLimitsKillWhatGrowsTooLarge) {
  ContainerSpec spec = Spec("memory");
  spec.limits.memory_limits.limit_in_bytes = 32 << 20;
  auto container = Create(spec);
  EXPECT_EQ(Run(*container, Script("dd if=/dev/zero of=/dev/null bs=100M count=1")).status, 137);
  // The container itself goes on.
  EXPECT_EQ(Output(*container, "echo alive"), "alive\n");
}

TEST_F(IsolationTest, CpuAndProcessLimitsReachTheCgroups) {
  ContainerSpec spec = Spec("limits");
  spec.limits.cpu_limits.weight = 512;
  spec.limits.pid_limits.max = 20;
  auto container = Create(spec);
  if (!worker_->containers().launcher().cgroups().unified()) {
    EXPECT_EQ(CgroupFile("cpu", "limits", "cpu.shares"), "512");
  }
  EXPECT_EQ(CgroupFile("pids", "limits", "pids.max"), "20");
  EXPECT_NE(Output(*container, "i=0; while [ $i -lt 40 ]; do sleep 1000 & i=$((i+1)); done"), "");
}

TEST_F(IsolationTest, WithoutLimitsAskedForThereAreThoseOfTheWorker) {
  auto container = Create(Spec("defaults"));
  EXPECT_EQ(CgroupFile("pids", "defaults", "pids.max"), "4096");
  EXPECT_EQ(Output(*container, "cat /proc/self/oom_score_adj"), "500\n");
  const bool unified = worker_->containers().launcher().cgroups().unified();
  const std::string all =
      CgroupFile("memory", "", unified ? "memory.max" : "memory.limit_in_bytes");
  EXPECT_LE(std::abs(std::stoll(all) - MemoryForContainers()), 4096) << all;
}

TEST_F(IsolationTest, WritesAreLimitedOnTheWholeDiskThatAFolderIsOn) {
  const linux::CgroupLayout& cgroups = worker_->containers().launcher().cgroups();
  const auto limited = LimitWrites(folder_.path(), 1 << 20, cgroups);
  if (!limited) GTEST_SKIP() << limited.error().message;
  const auto on_none = LimitWrites("/proc", 1 << 20, cgroups);
  ASSERT_FALSE(on_none);
  EXPECT_NE(on_none.error().message.find("/proc lies on no single disk"), std::string::npos)
      << on_none.error().message;
  const Json& device = limited->Find("throttleWriteBpsDevice")->AsArray().at(0);
  EXPECT_EQ(device.IntegerAt("rate"), 1 << 20);
  const std::string path = "/sys/dev/block/" + std::to_string(device.IntegerAt("major")) + ":" +
                           std::to_string(device.IntegerAt("minor"));
  EXPECT_TRUE(fs::exists(path)) << path;
  EXPECT_FALSE(fs::exists(path + "/partition")) << path;
}

TEST_F(IsolationTest, WhoWaitsForAProcessHearsWhyItsContainerWasEnded) {
  auto container = Create(Spec("ended"));
  auto process = loop().RunUntilDone(container->Run(Script("sleep 1000"), {}));
  loop().RunUntilDone(container->End("it has taken too much", {}));
  loop().RunUntilDone(UntilEnd(process));
  EXPECT_EQ(process->end->error, "it has taken too much");
  while (container->status() == Container::Status::kRunning)
    loop().Poll();
  ProcessSpec again = Script("echo alive");
  again.id = "again";
  EXPECT_EQ(Run(*container, again).output, "alive\n") << "it starts again for a next process";
}

TEST_F(IsolationTest, ProcessesHaveTheirUserFolderAndEnvironment) {
  ContainerSpec container_spec = Spec("process");
  container_spec.env = {"A=container", "B=container"};
  auto container = Create(container_spec);
  ProcessSpec spec = Script(
      "id -u; id -g; id -G; pwd; echo $A $B; echo $HOME $USER; echo $PATH; "
      "echo reopened > /dev/stdout");
  spec.user = "build";
  spec.dir = "/work/deep/folder";
  spec.env = {"B=process"};
  EXPECT_EQ(Run(*container, spec).output,
            "1000\n1001\n1001 999\n/work/deep/folder\ncontainer process\n/home/build build\n"
            "/usr/local/bin:/usr/bin:/bin\nreopened\n");
  spec.user = "1234:77";
  EXPECT_TRUE(Run(*container, spec).output.starts_with("1234\n77\n"));
  spec.user = "stranger";
  EXPECT_THROW(Run(*container, spec), Failure);
}

TEST_F(IsolationTest, BindMountsAreThereInTheirMode) {
  fs::create_directories(folder_.path() / "input");
  fs::create_directories(folder_.path() / "output");
  ASSERT_TRUE(WriteFile(folder_.path() / "input/file", "given"));
  ASSERT_EQ(::chown((folder_.path() / "output").c_str(), kHostIdBase, kHostIdBase), 0);
  ContainerSpec spec = Spec("binds");
  spec.bind_mounts = {{.src_path = folder_.path() / "input", .dst_path = "/in"},
                      {.src_path = folder_.path() / "output", .dst_path = "/a/b/out", .mode = 1}};
  auto container = Create(spec);
  EXPECT_EQ(Output(*container, "cat /in/file > /a/b/out/copy; touch /in/x || echo refused"),
            "touch: /in/x: Read-only file system\nrefused\n");
  EXPECT_EQ(*ReadFile(folder_.path() / "output/copy"), "given");
}

TEST_F(IsolationTest, TheRuntimesWordsReachTheCaller) {
  ContainerSpec spec = Spec("wrong");
  spec.bind_mounts = {{.src_path = "/no/such/folder", .dst_path = "/in"}};
  try {
    Create(spec);
    FAIL() << "created";
  } catch (const Failure& failure) {
    EXPECT_NE(failure.error().message.find("/no/such/folder"), std::string::npos)
        << failure.error().message;
  }
}

struct Traces {
  std::size_t mounts = 0;
  std::size_t cgroups = 0;
  std::size_t states = 0;
  std::size_t descriptors = 0;
  std::size_t supervisors = 0;
  bool operator==(const Traces&) const = default;
};

std::size_t CountEntries(const fs::path& folder) {
  std::error_code error;
  return static_cast<std::size_t>(
      std::distance(fs::directory_iterator(folder, error), fs::directory_iterator()));
}

TEST_F(IsolationTest, NothingIsLeftOfDestroyedContainers) {
  const Launcher& launcher = worker_->containers().launcher();
  const auto count = [&] {
    while (launcher.waiting() < 3)
      loop().Poll();
    Traces traces;
    const std::string mounts = ReadFile("/proc/self/mountinfo").value_or("");
    traces.mounts = static_cast<std::size_t>(std::ranges::count(mounts, '\n'));
    const fs::path parent = fs::path(launcher.CgroupOf("x")).parent_path();
    for (const fs::path& root : launcher.cgroups().hierarchies()) {
      std::error_code error;
      for (fs::directory_iterator entry(root / parent, error), end; !error && entry != end;
           entry.increment(error)) {
        if (entry->is_directory()) ++traces.cgroups;
      }
    }
    const fs::path run = launcher.RunFolder("x").parent_path();
    traces.states = CountEntries(run) + CountEntries(run.parent_path() / "runtime") +
                    CountEntries(folder_.path() / "work/containers");
    traces.descriptors = CountEntries("/proc/self/fd");
    for (const auto& entry : fs::directory_iterator("/proc")) {
      std::error_code error;
      const fs::path cwd = fs::read_symlink(entry.path() / "cwd", error);
      if (!error && cwd.string().starts_with(run.string())) {
        ++traces.supervisors;
      }
    }
    return traces;
  };
  // The first one leaves folders that stay.
  Create(Spec("warm"));
  worker_->DestroyAll();
  const Traces before = count();
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 4; ++i) {
      auto container = Create(Spec("leak-" + std::to_string(i)));
      Run(*container, Script("sleep 1000 & echo started"));
    }
    worker_->DestroyAll();
  }
  loop().Poll();
  const Traces after = count();
  EXPECT_EQ(after.mounts, before.mounts);
  EXPECT_EQ(after.cgroups, before.cgroups);
  EXPECT_EQ(after.states, before.states);
  EXPECT_EQ(after.descriptors, before.descriptors);
  EXPECT_EQ(after.supervisors, before.supervisors);
}

TEST_F(IsolationTest, ManyContainersStartAtOnce) {
  const auto create = [](Containers& containers, ContainerSpec spec,
                         std::size_t& up) -> Task<void> {
    co_await containers.Create(std::move(spec), {});
    ++up;
  };
  std::size_t up = 0;
  TaskGroup group(loop().executor(), worker_->log(), "creations");
  for (int i = 0; i < 20; ++i) {
    group.Spawn(create(worker_->containers(), Spec("many-" + std::to_string(i)), up));
  }
  loop().RunUntilDone(group.Join());
  EXPECT_EQ(up, 20u);
}

}  // namespace
}  // namespace pinion::worker
