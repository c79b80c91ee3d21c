#include "async/thread_pool.h"

#include <pthread.h>

namespace pinion {

ThreadPool::ThreadPool(std::string name, std::size_t threads, std::size_t limit)
    : name_(std::move(name)), limit_(limit) {
  for (std::size_t i = 0; i < threads; ++i)
    threads_.emplace_back([this] { Work(); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_)
    thread.join();
}

std::size_t ThreadPool::depth() const {
  const std::lock_guard lock(mutex_);
  return queue_.size() + busy_;
}

void ThreadPool::Enqueue(std::move_only_function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    if (ending_) throw Cancelled();
    if (queue_.size() >= limit_) {
      throw Failure(ErrorKind::kUnavailable,
                    "too much work is waiting for the '" + name_ + "' threads: try again later");
    }
    queue_.push_back(std::move(work));
  }
  wake_.notify_one();
}

bool ThreadPool::RunOne() {
  std::move_only_function<void()> work;
  {
    const std::lock_guard lock(mutex_);
    if (queue_.empty()) return false;
    work = std::move(queue_.front());
    queue_.pop_front();
  }
  work();
  return true;
}

void ThreadPool::Work() {
  pthread_setname_np(pthread_self(), name_.substr(0, 15).c_str());
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return ending_ || !queue_.empty(); });
    if (queue_.empty()) return;
    auto work = std::move(queue_.front());
    queue_.pop_front();
    ++busy_;
    lock.unlock();
    work();
    work = nullptr;
    lock.lock();
    --busy_;
  }
}

}  // namespace pinion
