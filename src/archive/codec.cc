#include "archive/codec.h"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

namespace pinion::archive {
namespace {

constexpr std::size_t kBuffer = 64 << 10;

[[noreturn]] void Damaged(std::string_view what, std::string_view reason) {
  throw Failure(ErrorKind::kInvalid,
                "the " + std::string(what) + " stream is damaged: " + std::string(reason));
}

class PlainDecoder final : public ByteSource {
 public:
  explicit PlainDecoder(ByteSource& from) : from_(from) {}
  std::size_t Read(std::span<char> buffer) override { return from_.Read(buffer); }

 private:
  ByteSource& from_;
};

class GzipDecoder final : public ByteSource {
 public:
  explicit GzipDecoder(ByteSource& from) : from_(from), input_(kBuffer) {
    if (inflateInit2(&stream_, 15 + 16) != Z_OK) {
      throw Failure(ErrorKind::kInternal, "no memory to decompress gzip");
    }
  }
  GzipDecoder(const GzipDecoder&) = delete;
  ~GzipDecoder() override { inflateEnd(&stream_); }

  std::size_t Read(std::span<char> buffer) override {
    if (buffer.empty()) return 0;
    for (;;) {
      if (stream_.avail_in == 0) {
        const std::size_t got = from_.Read(input_);
        if (got == 0) {
          if (between_ && started_) return 0;
          Damaged("gzip", started_ ? "it ends too early" : "it is empty");
        }
        stream_.next_in = reinterpret_cast<Bytef*>(input_.data());
        stream_.avail_in = static_cast<uInt>(got);
      }
      if (between_) {
        // Zero padding after the last member is common and harmless.
        if (started_ && *stream_.next_in == 0) {
          ++stream_.next_in;
          --stream_.avail_in;
          continue;
        }
        if (started_) inflateReset(&stream_);
        started_ = true;
        between_ = false;
      }
      stream_.next_out = reinterpret_cast<Bytef*>(buffer.data());
      stream_.avail_out = static_cast<uInt>(std::min<std::size_t>(buffer.size(), 1U << 30));
      const uInt room = stream_.avail_out;
      const int status = inflate(&stream_, Z_NO_FLUSH);
      if (status == Z_STREAM_END) {
        between_ = true;
      } else if (status != Z_OK && status != Z_BUF_ERROR) {
        Damaged("gzip", stream_.msg ? stream_.msg : "unknown data");
      }
      if (room != stream_.avail_out) return room - stream_.avail_out;
    }
  }

 private:
  ByteSource& from_;
  std::vector<char> input_;
  z_stream stream_{};
  bool started_ = false;
  bool between_ = true;  // before the first member, or after one
};

class ZstdDecoder final : public ByteSource {
 public:
  explicit ZstdDecoder(ByteSource& from) : from_(from), input_(kBuffer) {
    if (!stream_) throw Failure(ErrorKind::kInternal, "no memory to decompress zstd");
    ZSTD_DCtx_setParameter(stream_.get(), ZSTD_d_windowLogMax, 27);
  }

  std::size_t Read(std::span<char> buffer) override {
    if (buffer.empty()) return 0;
    for (;;) {
      if (in_.pos == in_.size && !more_) {
        in_ = {input_.data(), from_.Read(input_), 0};
        if (in_.size == 0) {
          if (started_ && between_) return 0;
          Damaged("zstd", started_ ? "it ends too early" : "it is empty");
        }
      }
      ZSTD_outBuffer out{buffer.data(), buffer.size(), 0};
      const std::size_t status = ZSTD_decompressStream(stream_.get(), &out, &in_);
      if (ZSTD_isError(status)) Damaged("zstd", ZSTD_getErrorName(status));
      started_ = true;
      between_ = status == 0;
      more_ = out.pos == out.size && status != 0;
      if (out.pos > 0) return out.pos;
    }
  }

 private:
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  ByteSource& from_;
  std::vector<char> input_;
  std::unique_ptr<ZSTD_DCtx, Free> stream_{ZSTD_createDCtx()};
  ZSTD_inBuffer in_{nullptr, 0, 0};
  bool started_ = false;
  bool between_ = false;
  bool more_ = false;  // output is left inside the decoder
};

class SniffingDecoder final : public ByteSource {
 public:
  explicit SniffingDecoder(ByteSource& from) : replay_(from) {}
  std::size_t Read(std::span<char> buffer) override {
    if (!decoder_) {
      replay_.Fill();
      decoder_ = MakeDecoder(replay_, Sniff(replay_.head));
    }
    return decoder_->Read(buffer);
  }

 private:
  // Gives the bytes that were looked at once more.
  struct Replay final : ByteSource {
    explicit Replay(ByteSource& source) : from(source) {}
    void Fill() {
      char byte[4];
      while (head.size() < 4) {
        const std::size_t got = from.Read(std::span(byte, 4 - head.size()));
        if (got == 0) return;
        head.append(byte, got);
      }
    }
    std::size_t Read(std::span<char> buffer) override {
      if (used == head.size()) return from.Read(buffer);
      const std::size_t count = std::min(buffer.size(), head.size() - used);
      std::memcpy(buffer.data(), head.data() + used, count);
      used += count;
      return count;
    }
    ByteSource& from;
    std::string head;
    std::size_t used = 0;
  };
  Replay replay_;
  std::unique_ptr<ByteSource> decoder_;
};

class PlainEncoder final : public ByteSink {
 public:
  explicit PlainEncoder(ByteSink& to) : to_(to) {}
  void Write(std::string_view bytes) override { to_.Write(bytes); }
  void Finish() override { to_.Finish(); }

 private:
  ByteSink& to_;
};

class GzipEncoder final : public ByteSink {
 public:
  explicit GzipEncoder(ByteSink& to) : to_(to), output_(kBuffer) {
    if (deflateInit2(&stream_, Z_BEST_SPEED, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
      throw Failure(ErrorKind::kInternal, "no memory to compress gzip");
    }
  }
  GzipEncoder(const GzipEncoder&) = delete;
  ~GzipEncoder() override { deflateEnd(&stream_); }

  void Write(std::string_view bytes) override {
    while (!bytes.empty()) {
      const std::string_view part = bytes.substr(0, 1U << 30);
      bytes.remove_prefix(part.size());
      stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(part.data()));
      stream_.avail_in = static_cast<uInt>(part.size());
      Run(Z_NO_FLUSH);
    }
  }
  void Finish() override {
    stream_.avail_in = 0;
    Run(Z_FINISH);
    to_.Finish();
  }

 private:
  void Run(int flush) {
    do {
      stream_.next_out = reinterpret_cast<Bytef*>(output_.data());
      stream_.avail_out = static_cast<uInt>(output_.size());
      deflate(&stream_, flush);
      const std::size_t made = output_.size() - stream_.avail_out;
      if (made > 0) to_.Write(std::string_view(output_.data(), made));
    } while (stream_.avail_out == 0);
  }
  ByteSink& to_;
  std::vector<char> output_;
  z_stream stream_{};
};

class ZstdEncoder final : public ByteSink {
 public:
  explicit ZstdEncoder(ByteSink& to) : to_(to), output_(ZSTD_CStreamOutSize()) {
    if (!stream_) throw Failure(ErrorKind::kInternal, "no memory to compress zstd");
    ZSTD_CCtx_setParameter(stream_.get(), ZSTD_c_compressionLevel, 1);
    ZSTD_CCtx_setParameter(stream_.get(), ZSTD_c_checksumFlag, 1);
  }
  void Write(std::string_view bytes) override {
    ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
    while (in.pos < in.size)
      Run(in, ZSTD_e_continue);
  }
  void Finish() override {
    ZSTD_inBuffer in{nullptr, 0, 0};
    while (Run(in, ZSTD_e_end) != 0) {
    }
    to_.Finish();
  }

 private:
  struct Free {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  };
  std::size_t Run(ZSTD_inBuffer& in, ZSTD_EndDirective end) {
    ZSTD_outBuffer out{output_.data(), output_.size(), 0};
    const std::size_t status = ZSTD_compressStream2(stream_.get(), &out, &in, end);
    if (ZSTD_isError(status)) {
      throw Failure(ErrorKind::kInternal,
                    std::string("compressing zstd: ") + ZSTD_getErrorName(status));
    }
    if (out.pos > 0) to_.Write(std::string_view(output_.data(), out.pos));
    return status;
  }
  ByteSink& to_;
  std::vector<char> output_;
  std::unique_ptr<ZSTD_CCtx, Free> stream_{ZSTD_createCCtx()};
};

}  // namespace

std::string_view Name(Encoding encoding) {
  switch (encoding) {
    case Encoding::kRaw:
      return "raw";
    case Encoding::kGzip:
      return "gzip";
    case Encoding::kZstd:
      return "zstd";
  }
  return "unknown";
}

Result<Encoding> ParseEncoding(std::string_view name) {
  if (name.empty() || name == "gzip") return Encoding::kGzip;
  if (name == "zstd") return Encoding::kZstd;
  if (name == "raw") return Encoding::kRaw;
  return Fail(ErrorKind::kInvalid, "stream encoding '" + std::string(name.substr(0, 64)) +
                                       "' is not supported: use gzip, zstd or raw");
}

Encoding Sniff(std::string_view head) {
  if (head.starts_with("\x1f\x8b")) return Encoding::kGzip;
  if (head.starts_with("\x28\xb5\x2f\xfd")) return Encoding::kZstd;
  // A skippable frame, as zstd's seekable variants begin.
  if (head.size() >= 4 && (head[0] & '\xf0') == '\x50' && head.substr(1, 3) == "\x2a\x4d\x18") {
    return Encoding::kZstd;
  }
  return Encoding::kRaw;
}

std::unique_ptr<ByteSource> MakeDecoder(ByteSource& from, Encoding encoding) {
  switch (encoding) {
    case Encoding::kGzip:
      return std::make_unique<GzipDecoder>(from);
    case Encoding::kZstd:
      return std::make_unique<ZstdDecoder>(from);
    case Encoding::kRaw:
      break;
  }
  return std::make_unique<PlainDecoder>(from);
}

std::unique_ptr<ByteSource> MakeSniffingDecoder(ByteSource& from) {
  return std::make_unique<SniffingDecoder>(from);
}

std::unique_ptr<ByteSink> MakeEncoder(ByteSink& to, Encoding encoding) {
  switch (encoding) {
    case Encoding::kGzip:
      return std::make_unique<GzipEncoder>(to);
    case Encoding::kZstd:
      return std::make_unique<ZstdEncoder>(to);
    case Encoding::kRaw:
      break;
  }
  return std::make_unique<PlainEncoder>(to);
}

}  // namespace pinion::archive
