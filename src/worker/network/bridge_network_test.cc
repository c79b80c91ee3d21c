#include "worker/network/bridge_network.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <csignal>
#include <thread>

#include "base/text.h"
#include "linux/namespaces.h"
#include "linux/network_links.h"
#include "worker/containers/testing.h"

namespace pinion::worker {
namespace {

using protocol::garden::ContainerSpec;
using protocol::garden::ProcessSpec;

constexpr std::uint32_t kHostSide = 0xC6127D01;     // 198.18.125.1
constexpr std::uint32_t kOutsideSide = 0xC6127D02;  // 198.18.125.2

/// Not wget: a static busybox cannot resolve names.
constexpr const char* kAskOutside =
    "printf 'GET /hello HTTP/1.0\\r\\n\\r\\n' | nc -w 5 198.18.125.2 8000";

/// Ports of this test's containers on the host.
std::size_t CountPorts() {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/sys/class/net")) {
    if (entry.path().filename().string().starts_with("pv0ade")) ++count;
  }
  return count;
}

/// "Outside": a machine that knows only the host, with a web server.
class Outside {
 public:
  void Start(const std::filesystem::path& folder) {
    auto pair = linux::MakeNetworkNamespace();
    ASSERT_TRUE(pair) << pair.error().message;
    network_ = std::move(pair->network);
    auto host = linux::NetlinkSocket::Open();
    ASSERT_TRUE(host);
    (void)host->DeleteLink("pntestout");
    const auto made = host->AddVethPair("pntestout", 0, "eth0", network_.get(), 1400);
    ASSERT_TRUE(made) << made.error().message;
    auto inside = linux::NetlinkSocket::OpenIn(network_.get());
    ASSERT_TRUE(inside);
    ASSERT_TRUE(host->AddAddress("pntestout", kHostSide, 30));
    ASSERT_TRUE(inside->AddAddress("eth0", kOutsideSide, 30));
    ASSERT_TRUE(host->SetUp("pntestout"));
    ASSERT_TRUE(inside->SetUp("eth0"));
    ASSERT_TRUE(linux::WaitUntilRunning(*host, "pntestout"));
    ASSERT_TRUE(WriteFile(folder / "www/hello", "hello from outside\n"));
    const auto pid = linux::Spawn(
        {.arguments = {
             "nsenter",
             "--net=/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(network_.get()),
             "/bin/busybox", "httpd", "-f", "-p", "8000", "-h", folder / "www"}});
    ASSERT_TRUE(pid) << pid.error().message;
    pid_ = *pid;
  }
  ~Outside() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    if (auto host = linux::NetlinkSocket::Open()) (void)host->DeleteLink("pntestout");
  }

 private:
  linux::UniqueFd network_;
  pid_t pid_ = 0;
};

class BridgeNetworkTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = testing::WhyNoContainers(); !why.empty()) GTEST_SKIP() << why;
    if (!linux::RunCommand({"nft", "--version"}, "", std::chrono::seconds(10))) {
      GTEST_SKIP() << "needs nft (nftables)";
    }
    testing::MakeRootfs(folder_.path() / "rootfs");
    std::filesystem::create_directories(folder_.path() / "www");
  }
  void TearDown() override {
    if (worker_) {
      worker_->DestroyAll();
      worker_->loop().RunUntilDone(network_->Remove());
      worker_->Shutdown();
    }
  }
  void Start() {
    worker_ = std::make_unique<testing::Worker>(folder_.path() / "work", nullptr);
    network_ = std::make_unique<BridgeNetwork>(
        worker_->loop().executor(), worker_->pool(), worker_->log(), folder_.path() / "work",
        BridgeNetworkOptions{.bridge = "pntest0",
                             .subnet = "10.222.0.0/16",
                             .pool_size = 2,
                             .dns_servers = {"10.222.0.1"},
                             .denied_networks = {"198.51.100.0/24"}});
    worker_->Use(*network_);
    const auto started = worker_->loop().RunUntilDone(network_->Start());
    ASSERT_TRUE(started) << started.error().message;
  }

  std::shared_ptr<Container> Create(const std::string& handle, bool online = true,
                                    bool privileged = false) {
    ContainerSpec spec;
    spec.handle = handle;
    spec.rootfs = "raw://" + (folder_.path() / "rootfs").string();
    spec.privileged = privileged;
    if (online) spec.netout_rules.push_back(JsonObject{});
    return worker_->loop().RunUntilDone(worker_->containers().Create(spec, {}));
  }
  static Task<void> UntilEnd(std::shared_ptr<ContainerProcess> process) {
    while (!process->end)
      co_await process->changed.Wait({});
  }
  std::string Shell(Container& container, const std::string& script) {
    ProcessSpec spec;
    spec.id = "run";
    spec.path = "sh";
    spec.args = {"-c", "exec 2>&1; " + script};
    auto process = worker_->loop().RunUntilDone(container.Run(spec, {}));
    worker_->loop().RunUntilDone(UntilEnd(process));
    std::int64_t offset = 0;
    EXPECT_TRUE(process->end->error.empty()) << process->end->error;
    if (process->end->exit_status != 0) {
      return *ReadOutput(process->folder, OutputStream::kStdout, offset, 1 << 20) + "exit status " +
             std::to_string(process->end->exit_status);
    }
    return *ReadOutput(process->folder, OutputStream::kStdout, offset, 1 << 20);
  }

  testing::OpenFolder folder_;
  std::unique_ptr<testing::Worker> worker_;
  std::unique_ptr<BridgeNetwork> network_;
};

TEST_F(BridgeNetworkTest, AContainerReachesTheOutsideAndNeitherTheHostNorOthers) {
  Outside outside;
  outside.Start(folder_.path());
  Start();
  auto first = Create("first");
  auto second = Create("second");
  EXPECT_TRUE(Shell(*first, kAskOutside).ends_with("hello from outside\n"));
  EXPECT_EQ(Shell(*first, "cat /etc/resolv.conf"), "nameserver 10.222.0.1\n");

  // A server on all of the host's addresses.
  const linux::UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(listener.get(), 8), 0);
  socklen_t size = sizeof address;
  ASSERT_EQ(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  const std::string port = std::to_string(ntohs(address.sin_port));
  for (const char* host : {"10.222.0.1", "198.18.125.1"}) {
    EXPECT_EQ(Shell(*first, "nc -w 2 " + std::string(host) + " " + port +
                                " </dev/null >/dev/null && echo reached || echo refused"),
              "nc: can't connect to remote host (" + std::string(host) +
                  "): No route to host\nrefused\n");
  }

  const std::string own =
      Shell(*second, "ip -4 -o addr show eth0 | grep -o '10\\.222\\.[0-9.]*' | head -n 1");
  EXPECT_TRUE(own.starts_with("10.222.")) << own;
  EXPECT_EQ(Shell(*first, "ping -c 1 -W 1 " + std::string(Trim(own)) +
                              " >/dev/null && echo reached || echo alone"),
            "alone\n");
}

TEST_F(BridgeNetworkTest, HermeticContainersHaveLoopbackAlone) {
  Start();
  auto container = Create("hermetic", false);
  EXPECT_EQ(Shell(*container,
                  "ls /proc/sys/net/ipv4/conf; ping -c 1 -W 1 127.0.0.1 >/dev/null && echo up"),
            "all\ndefault\nlo\nup\n");
  EXPECT_NE(Shell(*container, "ping -c 1 -W 1 192.0.2.1").find("100% packet loss"),
            std::string::npos);
}

TEST_F(BridgeNetworkTest, PrivilegedContainersHaveANetworkToo) {
  Outside outside;
  outside.Start(folder_.path());
  Start();
  auto container = Create("privileged", true, true);
  EXPECT_TRUE(Shell(*container, kAskOutside).ends_with("hello from outside\n"));
}

TEST_F(BridgeNetworkTest, NothingIsLeftOfDestroyedContainers) {
  Start();
  for (int i = 0; i < 6; ++i)
    Create("leak-" + std::to_string(i));
  EXPECT_GE(CountPorts(), 6u);
  worker_->DestroyAll();
  worker_->loop().RunUntilDone(network_->Shutdown());
  // The kernel tidies networks up behind the scenes.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (CountPorts() > 0 && std::chrono::steady_clock::now() < deadline)
    std::this_thread::yield();
  EXPECT_EQ(CountPorts(), 0u);
}

}  // namespace
}  // namespace pinion::worker
