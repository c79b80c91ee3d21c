#include "archive/byte_pipe.h"

#include <algorithm>
#include <cstring>

namespace pinion::archive {

class BytePipe::Source final : public ByteSource {
 public:
  explicit Source(BytePipe& pipe) : pipe_(pipe) {}
  std::size_t Read(std::span<char> buffer) override {
    if (used_ == chunk_.size()) {
      std::unique_lock lock(pipe_.mutex_);
      pipe_.changed_.wait(lock,
                          [&] { return pipe_.failed_ || pipe_.ended_ || !pipe_.chunks_.empty(); });
      pipe_.ThrowIfFailed();
      chunk_ = pipe_.Take();
      used_ = 0;
    }
    const std::size_t count = std::min(buffer.size(), chunk_.size() - used_);
    if (count > 0) std::memcpy(buffer.data(), chunk_.data() + used_, count);
    used_ += count;
    return count;
  }

 private:
  BytePipe& pipe_;
  std::string chunk_;
  std::size_t used_ = 0;
};

class BytePipe::Sink final : public ByteSink {
 public:
  explicit Sink(BytePipe& pipe) : pipe_(pipe) {}
  void Write(std::string_view bytes) override {
    // Small writes are gathered: a chunk costs an allocation and a wake-up of the loop.
    chunk_.append(bytes);
    if (chunk_.size() >= kChunk) Send();
  }
  void Finish() override {
    if (!chunk_.empty()) Send();
    pipe_.CloseWrite();
  }

 private:
  static constexpr std::size_t kChunk = 128 << 10;
  void Send() {
    std::unique_lock lock(pipe_.mutex_);
    pipe_.changed_.wait(lock, [&] { return pipe_.failed_ || pipe_.bytes_ < pipe_.capacity_; });
    pipe_.ThrowIfFailed();
    pipe_.Put(std::exchange(chunk_, {}));
  }

  BytePipe& pipe_;
  std::string chunk_;
};

BytePipe::BytePipe(std::size_t capacity)
    : capacity_(capacity),
      source_(std::make_unique<Source>(*this)),
      sink_(std::make_unique<Sink>(*this)) {}

BytePipe::~BytePipe() = default;

ByteSource& BytePipe::source() {
  return *source_;
}
ByteSink& BytePipe::sink() {
  return *sink_;
}

void BytePipe::ThrowIfFailed() const {
  if (failed_) std::rethrow_exception(failed_);
}

std::string BytePipe::Take() {
  if (chunks_.empty()) return {};  // the end
  std::string chunk = std::move(chunks_.front());
  chunks_.pop_front();
  bytes_ -= chunk.size();
  changed_.notify_all();
  if (writer_) std::exchange(writer_, {})(true);
  return chunk;
}

void BytePipe::Put(std::string bytes) {
  bytes_ += bytes.size();
  chunks_.push_back(std::move(bytes));
  changed_.notify_all();
  if (reader_) std::exchange(reader_, {})(true);
}

Task<void> BytePipe::Write(std::string bytes, std::stop_token stop) {
  if (bytes.empty()) co_return;
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      ThrowIfFailed();
      if (bytes_ < capacity_) {
        Put(std::move(bytes));
        co_return;
      }
    }
    co_await SuspendUntilStop<bool>(stop, [this](Waker<bool> waker) {
      const std::lock_guard lock(mutex_);
      if (failed_ || bytes_ < capacity_) {
        waker(true);
      } else {
        writer_ = std::move(waker);
      }
    });
  }
}

Task<std::string> BytePipe::Read(std::stop_token stop) {
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      ThrowIfFailed();
      if (ended_ || !chunks_.empty()) co_return Take();
    }
    co_await SuspendUntilStop<bool>(stop, [this](Waker<bool> waker) {
      const std::lock_guard lock(mutex_);
      if (failed_ || ended_ || !chunks_.empty()) {
        waker(true);
      } else {
        reader_ = std::move(waker);
      }
    });
  }
}

void BytePipe::CloseWrite() {
  const std::lock_guard lock(mutex_);
  ended_ = true;
  changed_.notify_all();
  if (reader_) std::exchange(reader_, {})(true);
}

void BytePipe::Fail(std::exception_ptr reason) {
  const std::lock_guard lock(mutex_);
  if (failed_) return;
  failed_ = std::move(reason);
  chunks_.clear();
  bytes_ = 0;
  changed_.notify_all();
  if (reader_) std::exchange(reader_, {})(true);
  if (writer_) std::exchange(writer_, {})(true);
}

}  // namespace pinion::archive
