#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>

#include "async/loop.h"
#include "base/files.h"
#include "linux/process.h"
#include "worker/containers/containers.h"
#include "worker/id_mapping.h"

namespace pinion::worker::testing {

/// Why real containers cannot be made here; empty if they can.
inline std::string WhyNoContainers() {
  if (::geteuid() != 0) return "needs root";
  if (!std::filesystem::exists("/bin/busybox")) return "needs /bin/busybox (busybox-static)";
  const auto crun = linux::RunCommand({"crun", "--version"}, "", std::chrono::seconds(10));
  if (!crun || crun->exit_status != 0) return "needs crun";
  return "";
}

/// A root file system with busybox alone, owned by the mapped root.
inline void MakeRootfs(const std::filesystem::path& path, std::uint32_t owner = kHostIdBase) {
  namespace fs = std::filesystem;
  for (const char* name : {"", "bin", "etc", "tmp", "root", "proc", "sys", "dev"}) {
    fs::create_directories(path / name);
  }
  fs::copy_file("/bin/busybox", path / "bin/busybox");
  for (const char* name :
       {"sh",   "cat",   "sleep",   "echo",     "id",       "ls",      "stty",  "wget",
        "ip",   "kill",  "head",    "dd",       "ps",       "yes",     "env",   "pwd",
        "true", "nc",    "ping",    "touch",    "nslookup", "stat",    "mknod", "tty",
        "grep", "mount", "unshare", "readlink", "printf",   "hostname"}) {
    fs::create_symlink("busybox", path / "bin" / name);
  }
  ASSERT_TRUE(WriteFile(path / "etc/passwd",
                        "root:x:0:0:root:/root:/bin/sh\nbuild:x:1000:1001::/home/build:/bin/sh\n"));
  ASSERT_TRUE(WriteFile(path / "etc/group", "root:x:0:\nbuild:x:1001:\ndocker:x:999:build\n"));
  for (const auto& entry : fs::recursive_directory_iterator(path)) {
    ASSERT_EQ(::lchown(entry.path().c_str(), owner, owner), 0);
  }
  ASSERT_EQ(::lchown(path.c_str(), owner, owner), 0);
}

/// A folder that mapped users may pass.
class OpenFolder {
 public:
  OpenFolder() { std::filesystem::permissions(folder_.path(), std::filesystem::perms(0755)); }
  const std::filesystem::path& path() const { return folder_.path(); }

 private:
  TemporaryFolder folder_{"pinion-containers"};
};

/// A worker's containers on a loop of their own; Restart() is what a new process of the worker
/// sees.
class Worker {
 public:
  Worker(std::filesystem::path work_dir, Network* network = nullptr,
         std::int64_t unread_bytes_max = 64 << 20)
      : work_dir_(std::move(work_dir)), network_(network), unread_bytes_max_(unread_bytes_max) {
    Make();
  }
  ~Worker() { Shutdown(); }

  void Make() {
    containers_ = std::make_unique<Containers>(
        loop_.executor(), *timers_, log_, pool_, network_ ? *network_ : none_,
        ContainersOptions{.work_dir = work_dir_, .unread_bytes_max = unread_bytes_max_});
    const auto started = loop_.RunUntilDone(containers_->Start());
    if (!started) ADD_FAILURE() << started.error().message;
  }
  /// Starts anew with that network.
  void Use(Network& network) {
    Shutdown();
    network_ = &network;
    Make();
  }
  void Shutdown() {
    if (!containers_) return;
    loop_.RunUntilDone(containers_->Shutdown());
    containers_.reset();
  }
  void Restart() {
    Shutdown();
    Make();
  }
  /// Ends every container and removes it.
  void DestroyAll() {
    for (const std::string& handle : containers_->List({})) {
      try {
        loop_.RunUntilDone(containers_->Destroy(handle, {}));
      } catch (const Failure&) {
        // One that could not be created is being removed already.
      }
    }
  }

  Loop& loop() { return loop_; }
  Timers& timers() { return *timers_; }
  ThreadPool& pool() { return pool_; }
  Logger& log() { return log_; }
  Containers& containers() { return *containers_; }

 private:
  SystemClock clock_;
  Loop loop_{"test"};
  std::unique_ptr<Timers> timers_ = MakeSystemTimers(loop_.executor(), clock_);
  Logger log_{std::make_shared<FdLogSink>(2), clock_, LogLevel::kWarn};
  ThreadPool pool_{"containers", 4, 1000};
  NoNetwork none_;
  std::filesystem::path work_dir_;
  Network* network_;
  std::int64_t unread_bytes_max_;
  std::unique_ptr<Containers> containers_;
};

/// A fixture with a worker's containers and a root file system for them; skips where none can be
/// made. Ends what a test left.
class ContainersFixture : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = WhyNoContainers(); !why.empty()) GTEST_SKIP() << why;
    MakeRootfs(rootfs());
    worker_ = std::make_unique<Worker>(folder_.path() / "work");
  }
  void TearDown() override {
    if (worker_) worker_->DestroyAll();
  }
  Loop& loop() { return worker_->loop(); }
  std::filesystem::path rootfs() const { return folder_.path() / "rootfs"; }
  protocol::garden::ContainerSpec Spec(const std::string& handle) const {
    protocol::garden::ContainerSpec spec;
    spec.handle = handle;
    spec.rootfs = "raw://" + rootfs().string();
    return spec;
  }
  std::shared_ptr<Container> Create(protocol::garden::ContainerSpec spec) {
    return loop().RunUntilDone(worker_->containers().Create(std::move(spec), {}));
  }
  static protocol::garden::ProcessSpec Shell(const std::string& script,
                                             const std::string& id = "task") {
    protocol::garden::ProcessSpec spec;
    spec.id = id;
    spec.path = "sh";
    spec.args = {"-c", script};
    return spec;
  }
  static Task<void> UntilEnd(std::shared_ptr<ContainerProcess> process) {
    while (!process->end)
      co_await process->changed.Wait({});
  }

  OpenFolder folder_;
  std::unique_ptr<Worker> worker_;
};

}  // namespace pinion::worker::testing
