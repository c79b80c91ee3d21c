#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace pinion::archive {

/// Bytes that come in, for threads that may block.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// At least one byte, or 0 at the end. Throws Failure when the source broke off, Cancelled on
  /// stop.
  virtual std::size_t Read(std::span<char> buffer) = 0;
};

/// Bytes that go out, for threads that may block.
class ByteSink {
 public:
  virtual ~ByteSink() = default;
  /// Takes all of the bytes; throws Failure when they cannot go on, Cancelled on stop.
  virtual void Write(std::string_view bytes) = 0;
  /// The regular end: what is buffered goes out. Call it once; without it the output is cut.
  virtual void Finish() {}
};

/// Reads text that outlives it.
class TextSource final : public ByteSource {
 public:
  explicit TextSource(std::string_view text) : rest_(text) {}
  std::size_t Read(std::span<char> buffer) override;

 private:
  std::string_view rest_;
};

/// Collects what is written.
class TextSink final : public ByteSink {
 public:
  void Write(std::string_view bytes) override { text_.append(bytes); }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

/// Reads a descriptor that it does not own.
class FdSource final : public ByteSource {
 public:
  FdSource(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}
  std::size_t Read(std::span<char> buffer) override;

 private:
  int fd_;
  std::string name_;  // for errors
};

/// Passes bytes on and fails as kTooLarge once more than `limit` have come; 0 means no limit.
class LimitedSource final : public ByteSource {
 public:
  LimitedSource(ByteSource& from, std::uint64_t limit, std::string message)
      : from_(from), limit_(limit), message_(std::move(message)) {}
  std::size_t Read(std::span<char> buffer) override;

 private:
  ByteSource& from_;
  std::uint64_t limit_;
  std::uint64_t read_ = 0;
  std::string message_;
};

/// A running SHA-256.
class Sha256Stream {
 public:
  Sha256Stream();
  Sha256Stream(Sha256Stream&&) noexcept;
  Sha256Stream& operator=(Sha256Stream&&) noexcept;
  ~Sha256Stream();
  void Add(std::string_view bytes);
  /// Lower-case hexadecimal of what was added; ends the stream.
  std::string Hex();

 private:
  struct Free {
    void operator()(void* context) const;
  };
  std::unique_ptr<void, Free> context_;
};

/// Reads what is left, so that checksums at the end are verified; kTooLarge past `limit` bytes.
void Drain(ByteSource& source, std::uint64_t limit);

/// Passes bytes on and hashes and counts them.
class HashingSource final : public ByteSource {
 public:
  explicit HashingSource(ByteSource& from) : from_(from) {}
  std::size_t Read(std::span<char> buffer) override;
  std::string Hex() { return hash_.Hex(); }
  std::uint64_t bytes() const { return bytes_; }

 private:
  ByteSource& from_;
  Sha256Stream hash_;
  std::uint64_t bytes_ = 0;
};

}  // namespace pinion::archive
