#pragma once

#include <source_location>

#include "async/task.h"

/// Included before everything else when the modules under test are compiled for the simulation:
/// each coroutine then knows at which `co_await` it is suspended, so that a kill can tell what it
/// hit. The promise of Asio is kept as it is; only what goes through await_transform is noted.
namespace pinion::simulation {

/// One coroutine that has begun and not ended. Every one is in a list, with the node that runs it.
class TrackedCoroutine {
 public:
  TrackedCoroutine();
  TrackedCoroutine(const TrackedCoroutine&) = delete;
  TrackedCoroutine& operator=(const TrackedCoroutine&) = delete;
  ~TrackedCoroutine();

  /// It awaits something here; while no handler runs, it is suspended there.
  void Awaits(const std::source_location& where);

  int node() const { return node_; }
  const char* file() const { return file_; }  ///< null before its first await
  unsigned line() const { return line_; }
  TrackedCoroutine* next() const { return next_; }
  /// Out of the list: its node is dead.
  void Unlist();

 private:
  int node_;
  const char* file_ = nullptr;
  unsigned line_ = 0;
  TrackedCoroutine* previous_ = nullptr;
  TrackedCoroutine* next_ = nullptr;
  bool listed_ = true;
};

template <class T>
using PlainFrame = boost::asio::detail::awaitable_frame<T, Executor>;

/// What Asio's awaitable does, for a coroutine whose promise is derived from Asio's.
template <class Awaited, class Outer>
class TrackedAwait {
 public:
  explicit TrackedAwait(boost::asio::awaitable<Awaited, Executor> inner)
      : inner_(std::move(inner)) {}
  bool await_ready() const noexcept { return inner_.await_ready(); }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> handle) {
    inner_.await_suspend(std::coroutine_handle<PlainFrame<Outer>>::from_promise(handle.promise()));
  }
  Awaited await_resume() { return inner_.await_resume(); }

 private:
  boost::asio::awaitable<Awaited, Executor> inner_;
};

template <class T>
class TrackedFrame : public PlainFrame<T> {
 public:
  template <class Awaited>
  auto await_transform(boost::asio::awaitable<Awaited, Executor> awaited,
                       std::source_location where = std::source_location::current()) {
    tracked_.Awaits(where);
    return TrackedAwait<Awaited, T>(PlainFrame<T>::await_transform(std::move(awaited)));
  }
  template <class Other>
  auto await_transform(Other&& other,
                       std::source_location where = std::source_location::current()) {
    tracked_.Awaits(where);
    return PlainFrame<T>::await_transform(std::forward<Other>(other));
  }

 private:
  TrackedCoroutine tracked_;
};

}  // namespace pinion::simulation

/// More special than Asio's own, for the one executor that the product uses.
template <class T, class... Arguments>
struct std::coroutine_traits<pinion::Task<T>, Arguments...> {
  using promise_type = pinion::simulation::TrackedFrame<T>;
};
