#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "http/message.h"

/// Bodies and connections that come in pieces, for targets that decode streams.
namespace pinion::fuzz {

/// Cuts a text into pieces whose sizes follow from a seed: the same seed, the same cuts.
class Cuts {
 public:
  explicit Cuts(std::uint32_t seed) : state_(seed * 2654435761U + 1) {}
  /// How much of `left` comes next: at least one byte of what there is.
  std::size_t Next(std::size_t left) {
    state_ ^= state_ << 13U;
    state_ ^= state_ >> 17U;
    state_ ^= state_ << 5U;
    // Mostly a few bytes, sometimes many: ends of pieces fall everywhere.
    const std::size_t size =
        (state_ & 7U) != 0 ? 1 + (state_ >> 8U) % 13 : 1 + (state_ >> 8U) % 4096;
    return std::min(left, size);
  }

 private:
  std::uint32_t state_;
};

/// A body, or one direction of a connection, that comes in such pieces; whole with seed 0.
class Pieces final : public http::BodyReader {
 public:
  Pieces(std::string_view text, std::uint32_t seed) : rest_(text), whole_(seed == 0), cuts_(seed) {}
  Task<std::size_t> Read(std::span<char> buffer, std::stop_token) override {
    const std::size_t size = whole_ ? rest_.size() : cuts_.Next(rest_.size());
    const std::size_t count = rest_.copy(buffer.data(), std::min(size, buffer.size()));
    rest_.remove_prefix(count);
    co_return count;
  }

 private:
  std::string_view rest_;
  bool whole_;
  Cuts cuts_;
};

/// Both directions: reads from pieces, keeps what is written.
class Wire final : public http::Stream {
 public:
  Wire(std::string_view incoming, std::uint32_t seed, std::string& written)
      : incoming_(incoming, seed), written_(written) {}
  Task<std::size_t> Read(std::span<char> buffer, std::stop_token stop) override {
    return incoming_.Read(buffer, std::move(stop));
  }
  Task<void> Write(std::string_view bytes, std::stop_token) override {
    written_.append(bytes);
    co_return;
  }
  void CloseWrite() override {}
  void Close() override {}

 private:
  Pieces incoming_;
  std::string& written_;
};

}  // namespace pinion::fuzz
