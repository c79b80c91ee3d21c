#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <utility>

#include "base/error.h"

namespace pinion {

/// A coroutine: it runs on the loop that spawned it and on no other thread. Rules that keep them
/// safe: parameters by value or outliving the task, no capturing lambda as a coroutine, every long
/// wait takes a std::stop_token and throws Cancelled when it stops.
template <class T = void>
using Task = boost::asio::awaitable<T>;

using Executor = boost::asio::any_io_executor;

namespace async_detail {
template <class T>
struct ResumeState {
  std::move_only_function<void(std::exception_ptr, T)> handler;
  Executor executor;
};
}  // namespace async_detail

/// Wakes one suspended coroutine, once; later calls do nothing. Copies are the same waker. It may
/// be called from any thread: the coroutine goes on in its own loop.
template <class T>
class Waker {
 public:
  Waker() = default;
  explicit Waker(std::shared_ptr<async_detail::ResumeState<T>> state) : state_(std::move(state)) {}

  void operator()(T value) const { Finish(nullptr, std::move(value)); }
  void Fail(std::exception_ptr error) const { Finish(std::move(error), T{}); }
  explicit operator bool() const { return state_ != nullptr; }

 private:
  void Finish(std::exception_ptr error, T value) const {
    boost::asio::post(state_->executor, [state = state_, error = std::move(error),
                                         value = std::move(value)]() mutable {
      if (!state->handler) return;
      auto handler = std::exchange(state->handler, nullptr);
      handler(std::move(error), std::move(value));
    });
  }
  std::shared_ptr<async_detail::ResumeState<T>> state_;
};

/// Suspends the calling coroutine until the waker that is handed to `start` is called. T must be
/// default-constructible.
template <class T>
Task<T> Suspend(std::move_only_function<void(Waker<T>)> start) {
  const Executor executor = co_await boost::asio::this_coro::executor;
  auto initiate = [&start, &executor](auto handler) {
    auto shared = std::make_shared<decltype(handler)>(std::move(handler));
    auto state = std::make_shared<async_detail::ResumeState<T>>();
    state->executor = executor;
    state->handler = [shared](std::exception_ptr error, T value) {
      (*shared)(std::move(error), std::move(value));
    };
    start(Waker<T>(std::move(state)));
  };
  co_return co_await boost::asio::async_initiate<const boost::asio::use_awaitable_t<>,
                                                 void(std::exception_ptr, T)>(
      initiate, boost::asio::use_awaitable);
}

/// As Suspend, and throws Cancelled once `stop` is requested. The waker may still be called after
/// that, to no effect.
template <class T>
Task<T> SuspendUntilStop(std::stop_token stop, std::move_only_function<void(Waker<T>)> start) {
  if (stop.stop_requested()) throw Cancelled();
  std::optional<std::stop_callback<std::function<void()>>> on_stop;
  std::move_only_function<void(Waker<T>)> begin = [&](Waker<T> waker) {
    on_stop.emplace(stop, [waker] { waker.Fail(std::make_exception_ptr(Cancelled())); });
    start(waker);
  };
  T value = co_await Suspend<T>(std::move(begin));
  co_return value;
}

/// A stop source that also stops when its parent does: for what may be cancelled alone.
class LinkedStop {
 public:
  explicit LinkedStop(std::stop_token parent)
      : on_parent_(std::move(parent), [this] { source_.request_stop(); }) {}
  std::stop_token token() const { return source_.get_token(); }
  void RequestStop() { source_.request_stop(); }
  bool stop_requested() const { return source_.stop_requested(); }

 private:
  std::stop_source source_;
  std::stop_callback<std::function<void()>> on_parent_;
};

/// Throws Cancelled if the stop was requested.
inline void ThrowIfStopped(const std::stop_token& stop) {
  if (stop.stop_requested()) throw Cancelled();
}

}  // namespace pinion
