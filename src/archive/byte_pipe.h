#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <string>

#include "archive/byte_stream.h"
#include "async/task.h"

namespace pinion::archive {

/// Joins a coroutine to a thread that blocks: a bounded queue of chunks. Each end exists once and
/// is used in one of two ways, by awaiting on a loop or by blocking on a thread:
///
///   network -> Write()  | pipe | -> source() on a pool thread -> unpack
///   pack -> sink() on a pool thread | pipe | -> Read() -> network
///
/// Whoever gives up closes the pipe with a reason; the other end gets that reason instead of
/// waiting for ever. Thread-safe.
class BytePipe {
 public:
  /// A writer waits while `capacity` bytes or more are inside.
  explicit BytePipe(std::size_t capacity = 1 << 20);
  BytePipe(const BytePipe&) = delete;
  BytePipe& operator=(const BytePipe&) = delete;
  ~BytePipe();

  // For a coroutine.
  Task<void> Write(std::string bytes, std::stop_token stop);
  /// The next chunk, empty at the end.
  Task<std::string> Read(std::stop_token stop);

  // For a blocking thread. Both live as long as the pipe.
  ByteSource& source();
  ByteSink& sink();

  /// No more will be written; the reader gets what is inside, then the end.
  void CloseWrite();
  /// What is inside is dropped, and both ends throw `reason` from now on. The first reason stays.
  void Fail(std::exception_ptr reason);

 private:
  class Source;
  class Sink;

  /// Call with the lock held; the reason, if it failed, is thrown.
  void ThrowIfFailed() const;
  std::string Take();
  void Put(std::string bytes);

  const std::size_t capacity_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> chunks_;
  std::size_t bytes_ = 0;
  bool ended_ = false;
  std::exception_ptr failed_;
  Waker<bool> reader_;
  Waker<bool> writer_;
  std::unique_ptr<Source> source_;
  std::unique_ptr<Sink> sink_;
};

}  // namespace pinion::archive
