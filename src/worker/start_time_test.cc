#include <algorithm>
#include <chrono>
#include <iostream>
#include "worker/network/bridge_network.h"
#include "worker/containers/testing.h"
namespace pinion::worker {
using protocol::garden::ContainerSpec;
using protocol::garden::ProcessSpec;
static Task<void> UntilOutput(std::shared_ptr<ContainerProcess> process) {
  while (process->size[0] < 1 && !process->end) co_await process->changed.Wait({});
}
TEST(StartTime, Measure) {
  testing::OpenFolder folder;
  testing::MakeRootfs(folder.path() / "rootfs");
  testing::Worker worker(folder.path() / "work");
  BridgeNetwork network(worker.loop().executor(), worker.pool(), worker.log(), folder.path() / "work",
                        {.bridge = "pntest1", .subnet = "10.223.0.0/16", .pool_size = 8, .dns_servers = {"1.1.1.1"}});
  worker.Use(network);
  ASSERT_TRUE(worker.loop().RunUntilDone(network.Start()));
  for (int gap : {0, 300}) {
    std::vector<double> create, run, destroy, shell;
    for (int i = 0; i < 30; ++i) {
      if (gap) worker.loop().RunUntilDone(worker.timers().Sleep(std::chrono::milliseconds(gap), {}));
      ContainerSpec spec;
      spec.handle = "time-" + std::to_string(i);
      spec.rootfs = "raw://" + (folder.path() / "rootfs").string();
      spec.netout_rules.push_back(JsonObject{});
      spec.limits.memory_limits.limit_in_bytes = 1 << 30;
      ProcessSpec p; p.id = "task"; p.path = "sh"; p.args = {"-c", "echo hi; sleep 100"};
      auto t0 = std::chrono::steady_clock::now();
      auto c = worker.loop().RunUntilDone(worker.containers().Create(spec, {}));
      auto t1 = std::chrono::steady_clock::now();
      auto proc = worker.loop().RunUntilDone(c->Run(p, {}));
      worker.loop().RunUntilDone(UntilOutput(proc));
      auto t2 = std::chrono::steady_clock::now();
      p.id = "hijack";
      auto second = worker.loop().RunUntilDone(c->Run(p, {}));
      worker.loop().RunUntilDone(UntilOutput(second));
      auto t3 = std::chrono::steady_clock::now();
      worker.loop().RunUntilDone(worker.containers().Destroy(spec.handle, {}));
      auto t4 = std::chrono::steady_clock::now();
      auto ms = [](auto a, auto b) { return std::chrono::duration<double, std::milli>(b - a).count(); };
      create.push_back(ms(t0, t1)); run.push_back(ms(t0, t2)); shell.push_back(ms(t2, t3)); destroy.push_back(ms(t3, t4));
    }
    for (auto* v : {&create, &run, &shell, &destroy}) std::ranges::sort(*v);
    auto show = [](const char* n, auto& v) { std::cout << n << " median " << v[v.size() / 2] << " p95 " << v[v.size() * 95 / 100] << "\n"; };
    std::cout << "gap " << gap << "\n";
    show("create", create); show("first byte", run); show("second process", shell); show("destroy", destroy);
  }
  worker.loop().RunUntilDone(network.Remove());
}
}
