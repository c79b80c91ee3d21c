#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

/// Internal to the module: gzip as a stream, over zlib.
namespace pinion::http {

class GzipWriter {
 public:
  GzipWriter();
  ~GzipWriter();
  /// Appends to `out` what becomes of the bytes, so far that a reader can decompress all of them
  /// now.
  void Flush(std::string_view bytes, std::string& out);
  /// As Flush, without the guarantee: better compression.
  void Append(std::string_view bytes, std::string& out);
  void Finish(std::string& out);

 private:
  void Run(std::string_view bytes, int mode, std::string& out);
  struct State;
  std::unique_ptr<State> state_;
};

/// A text compressed by itself, to be put together with others again and again.
struct GzipPiece {
  std::string deflated;
  std::uint32_t checksum = 0;
  std::size_t bytes = 0;  ///< of the text
};
GzipPiece MakeGzipPiece(std::string_view text);

/// Puts pieces together to one gzip stream (one member, as every client reads it) without
/// compressing anything again.
class GzipJoiner {
 public:
  GzipJoiner();
  void Add(const GzipPiece& piece);
  /// A few bytes between pieces, not compressed; at most 65,535.
  void AddText(std::string_view text);
  /// The whole stream; call it once.
  std::string Finish();

 private:
  void AddStored(std::string_view text, bool last);

  std::string out_;
  std::uint32_t checksum_ = 0;
  std::size_t bytes_ = 0;
};

class GzipReader {
 public:
  GzipReader();
  ~GzipReader();
  /// Fills `out` from `in`, which loses what was used. 0 when more input is needed. kInvalid if it
  /// is no gzip. Members that follow each other are one stream.
  Result<std::size_t> Read(std::string_view& in, std::span<char> out);
  /// True at a place where the stream may end.
  bool at_end() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// True if an Accept-Encoding header allows gzip.
bool AcceptsGzip(std::string_view accept_encoding);

}  // namespace pinion::http
