#include "async/loop.h"

#include <pthread.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

namespace pinion {

Loop::Loop(std::string name)
    : name_(std::move(name)), context_(std::make_unique<boost::asio::io_context>(1)) {}

Loop::~Loop() = default;

void Loop::Run() {
  pthread_setname_np(pthread_self(), name_.substr(0, 15).c_str());
  const auto guard = boost::asio::make_work_guard(*context_);
  context_->restart();
  context_->run();
}

std::size_t Loop::Poll() {
  context_->restart();
  return context_->poll();
}

void Loop::Stop() {
  // As work of the loop: a stop that comes before Run() has begun must not be lost.
  boost::asio::post(*context_, [this] { context_->stop(); });
}

void Loop::Post(std::move_only_function<void()> work) {
  boost::asio::post(*context_, std::move(work));
}

Executor Loop::executor() const {
  return context_->get_executor();
}

void Loop::RunTask(Task<void> task) {
  const auto guard = boost::asio::make_work_guard(*context_);
  std::exception_ptr failure;
  bool done = false;
  boost::asio::co_spawn(*context_, std::move(task), [&](std::exception_ptr error) {
    failure = std::move(error);
    done = true;
  });
  context_->restart();
  while (!done && context_->run_one() > 0) {
  }
  if (failure) std::rethrow_exception(failure);
  if (!done) throw Cancelled();  // the loop was stopped
}

void SpawnDetached(const Executor& executor, Task<void> task) {
  boost::asio::co_spawn(executor, std::move(task), [](const std::exception_ptr& error) {
    if (!error) return;
    try {
      std::rethrow_exception(error);
    } catch (const Cancelled&) {
      // It was asked to stop.
    } catch (...) {
      std::terminate();
    }
  });
}

}  // namespace pinion
