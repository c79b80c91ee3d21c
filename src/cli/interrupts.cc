#include "cli/interrupts.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <map>
#include <thread>

#include "linux/fd.h"

namespace pinion::cli {
namespace {

int wake_fd = -1;  // what the handler may touch; set while an Interrupts lives

void OnSignal(int signal) {
  const int saved = errno;
  const char byte = static_cast<char>(signal);
  [[maybe_unused]] const ssize_t written = ::write(wake_fd, &byte, 1);
  errno = saved;
}

}  // namespace

struct Interrupts::Impl {
  linux::UniqueFd read_end;
  linux::UniqueFd write_end;
  std::map<int, struct sigaction> before;
  std::thread thread;
};

Interrupts::Interrupts(Loop& loop, std::vector<int> signals, std::function<void(int)> on_signal)
    : impl_(std::make_unique<Impl>()) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw Failure(SystemError("pipe", errno));
  impl_->read_end.Reset(ends[0]);
  impl_->write_end.Reset(ends[1]);
  wake_fd = ends[1];
  for (const int signal : signals) {
    struct sigaction action{};
    action.sa_handler = OnSignal;
    action.sa_flags = SA_RESTART;
    ::sigaction(signal, &action, &impl_->before[signal]);
  }
  impl_->thread = std::thread([&loop, fd = ends[0], on_signal = std::move(on_signal)] {
    for (;;) {
      char byte = 0;
      const ssize_t got = ::read(fd, &byte, 1);
      if (got < 0 && errno == EINTR) continue;
      if (got != 1 || byte == 0) return;  // 0: the end of this object's life
      loop.Post([on_signal, byte] { on_signal(byte); });
    }
  });
}

Interrupts::~Interrupts() {
  for (const auto& [signal, action] : impl_->before)
    ::sigaction(signal, &action, nullptr);
  const char end = 0;
  while (::write(impl_->write_end.get(), &end, 1) < 0 && errno == EINTR) {
  }
  impl_->thread.join();
  wake_fd = -1;
}

}  // namespace pinion::cli
