#include "linux/readiness.h"

#include <fcntl.h>

#include <boost/asio/posix/stream_descriptor.hpp>

namespace pinion::linux {

namespace asio = boost::asio;

struct WatchedFd::Impl {
  explicit Impl(const Executor& executor) : descriptor(executor) {}
  asio::posix::stream_descriptor descriptor;
};

namespace {

using Kind = asio::posix::descriptor_base::wait_type;

template <class Shared>
Task<void> WaitFor(std::shared_ptr<Shared> impl, Kind kind, std::stop_token stop) {
  if (!impl->descriptor.is_open()) throw Cancelled();
  co_await SuspendUntilStop<bool>(stop, [impl, kind](Waker<bool> waker) {
    impl->descriptor.async_wait(kind, [waker](const boost::system::error_code& error) {
      if (error == asio::error::operation_aborted) {
        waker.Fail(std::make_exception_ptr(Cancelled()));
      } else {
        waker(true);
      }
    });
  });
}

}  // namespace

WatchedFd::WatchedFd(Executor executor, UniqueFd fd) : impl_(std::make_shared<Impl>(executor)) {
  ::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) | O_NONBLOCK);
  impl_->descriptor.assign(fd.Release());
}

WatchedFd::WatchedFd(WatchedFd&&) noexcept = default;

WatchedFd& WatchedFd::operator=(WatchedFd&& other) noexcept {
  Close();
  impl_ = std::move(other.impl_);
  return *this;
}

WatchedFd::~WatchedFd() {
  Close();
}

int WatchedFd::get() const {
  return impl_->descriptor.native_handle();
}

Task<void> WatchedFd::Readable(std::stop_token stop) {
  return WaitFor(impl_, asio::posix::descriptor_base::wait_read, std::move(stop));
}

Task<void> WatchedFd::Writable(std::stop_token stop) {
  return WaitFor(impl_, asio::posix::descriptor_base::wait_write, std::move(stop));
}

void WatchedFd::Close() {
  if (!impl_) return;
  boost::system::error_code ignored;
  impl_->descriptor.close(ignored);
}

}  // namespace pinion::linux
