#include "worker/containers/process_input.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace pinion::worker {

Task<void> ProcessInput::Write(std::string bytes, std::stop_token stop) {
  const std::shared_ptr<linux::WatchedFd> input = co_await container_->OpenInput(process_, stop);
  if (!input) co_return;
  std::string_view left = bytes;
  while (!left.empty() && !process_->end) {
    const ssize_t written = ::write(input->get(), left.data(), left.size());
    if (written > 0) {
      left.remove_prefix(static_cast<std::size_t>(written));
    } else if (written < 0 && errno == EAGAIN) {
      co_await input->Writable(stop);
    } else if (written < 0 && errno != EINTR) {
      co_return;  // nobody reads it
    }
  }
}

Task<void> ProcessInput::End(std::stop_token stop) {
  if (process_->has_terminal()) {
    co_await Write("\x04", std::move(stop));
  } else {
    co_await container_->CloseInput(process_, std::move(stop));
  }
}

Task<void> ProcessInput::Resize(protocol::garden::WindowSize size, std::stop_token stop) {
  const std::shared_ptr<linux::WatchedFd> input =
      co_await container_->OpenInput(process_, std::move(stop));
  if (!input || !process_->has_terminal()) co_return;
  winsize window{};
  window.ws_col = static_cast<unsigned short>(std::clamp(size.columns, 0, 65535));
  window.ws_row = static_cast<unsigned short>(std::clamp(size.rows, 0, 65535));
  ::ioctl(input->get(), TIOCSWINSZ, &window);
}

}  // namespace pinion::worker
