#include "http/compression.h"

#include <zlib.h>

#include <array>
#include <new>

#include "base/text.h"

namespace pinion::http {

namespace {

constexpr int kGzipWindow = 15 + 16;  // the largest window, with gzip's frame
/// Answers are compressed once and read once, over networks that are fast more often than not.
constexpr int kLevel = 2;
constexpr int kMemoryLevel = 7;  // 64 kB less a stream than the default, at little loss

Bytef* Input(std::string_view bytes) {
  return reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
}

}  // namespace

struct GzipWriter::State {
  z_stream stream{};
};

GzipWriter::GzipWriter() : state_(std::make_unique<State>()) {
  if (deflateInit2(&state_->stream, kLevel, Z_DEFLATED, kGzipWindow, kMemoryLevel,
                   Z_DEFAULT_STRATEGY) != Z_OK) {
    throw std::bad_alloc();
  }
}

GzipWriter::~GzipWriter() {
  deflateEnd(&state_->stream);
}

void GzipWriter::Run(std::string_view bytes, int mode, std::string& out) {
  z_stream& stream = state_->stream;
  std::array<char, 16 << 10> chunk;
  // zlib counts in unsigned int: longer input goes in by pieces.
  constexpr std::size_t kPiece = 1 << 30;
  do {
    const std::string_view piece = bytes.substr(0, kPiece);
    bytes.remove_prefix(piece.size());
    const int flush = bytes.empty() ? mode : Z_NO_FLUSH;
    stream.next_in = Input(piece);
    stream.avail_in = static_cast<uInt>(piece.size());
    do {
      stream.next_out = reinterpret_cast<Bytef*>(chunk.data());
      stream.avail_out = static_cast<uInt>(chunk.size());
      deflate(&stream, flush);
      out.append(chunk.data(), chunk.size() - stream.avail_out);
    } while (stream.avail_out == 0);
  } while (!bytes.empty());
}

void GzipWriter::Flush(std::string_view bytes, std::string& out) {
  Run(bytes, Z_SYNC_FLUSH, out);
}
void GzipWriter::Append(std::string_view bytes, std::string& out) {
  Run(bytes, Z_NO_FLUSH, out);
}
void GzipWriter::Finish(std::string& out) {
  Run({}, Z_FINISH, out);
}

GzipPiece MakeGzipPiece(std::string_view text) {
  constexpr int kRawWindow = -15;
  GzipPiece piece;
  piece.bytes = text.size();
  piece.checksum = static_cast<std::uint32_t>(
      crc32_z(0, reinterpret_cast<const Bytef*>(text.data()), text.size()));
  z_stream stream{};
  if (deflateInit2(&stream, kLevel, Z_DEFLATED, kRawWindow, kMemoryLevel, Z_DEFAULT_STRATEGY) !=
      Z_OK) {
    throw std::bad_alloc();
  }
  // Room for all of it with the flush's own bytes, so that one call does.
  piece.deflated.resize(deflateBound(&stream, static_cast<uLong>(text.size())) + 64);
  stream.next_in = Input(text);
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(piece.deflated.data());
  stream.avail_out = static_cast<uInt>(piece.deflated.size());
  // It ends at a byte's end and nothing after it refers to it.
  deflate(&stream, Z_FULL_FLUSH);
  piece.deflated.resize(piece.deflated.size() - stream.avail_out);
  piece.deflated.shrink_to_fit();
  deflateEnd(&stream);
  return piece;
}

GzipJoiner::GzipJoiner() : out_("\x1f\x8b\x08\0\0\0\0\0\0\x03", 10) {}

void GzipJoiner::Add(const GzipPiece& piece) {
  out_ += piece.deflated;
  checksum_ = static_cast<std::uint32_t>(
      crc32_combine(checksum_, piece.checksum, static_cast<z_off_t>(piece.bytes)));
  bytes_ += piece.bytes;
}

void GzipJoiner::AddText(std::string_view text) {
  AddStored(text, false);
}

void GzipJoiner::AddStored(std::string_view text, bool last) {
  const auto length = static_cast<std::uint16_t>(text.size());
  out_ += last ? '\x01' : '\0';
  for (const std::uint16_t number : {length, static_cast<std::uint16_t>(~length)}) {
    out_ += static_cast<char>(number & 0xFF);
    out_ += static_cast<char>(number >> 8);
  }
  if (text.empty()) return;  // zlib takes no bytes at no address for a new beginning
  out_ += text;
  checksum_ = static_cast<std::uint32_t>(
      crc32_z(checksum_, reinterpret_cast<const Bytef*>(text.data()), text.size()));
  bytes_ += text.size();
}

std::string GzipJoiner::Finish() {
  AddStored({}, true);
  for (const auto number : {checksum_, static_cast<std::uint32_t>(bytes_)}) {
    for (int shift = 0; shift < 32; shift += 8)
      out_ += static_cast<char>(number >> shift & 0xFF);
  }
  return std::move(out_);
}

struct GzipReader::State {
  z_stream stream{};
  bool at_end = false;
};

GzipReader::GzipReader() : state_(std::make_unique<State>()) {
  if (inflateInit2(&state_->stream, kGzipWindow) != Z_OK) throw std::bad_alloc();
}

GzipReader::~GzipReader() {
  inflateEnd(&state_->stream);
}

Result<std::size_t> GzipReader::Read(std::string_view& in, std::span<char> out) {
  z_stream& stream = state_->stream;
  std::size_t filled = 0;
  while (filled == 0) {
    if (state_->at_end) {
      if (in.empty()) return 0;
      inflateReset(&stream);
      state_->at_end = false;
    }
    stream.next_in = Input(in);
    stream.avail_in = static_cast<uInt>(std::min<std::size_t>(in.size(), 1 << 30));
    const uInt given = stream.avail_in;
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(std::min<std::size_t>(out.size(), 1 << 30));
    const uInt room = stream.avail_out;
    const int outcome = inflate(&stream, Z_NO_FLUSH);
    in.remove_prefix(given - stream.avail_in);
    filled = room - stream.avail_out;
    if (outcome == Z_STREAM_END) {
      state_->at_end = true;
    } else if (outcome == Z_BUF_ERROR) {
      return filled;  // it needs more input
    } else if (outcome != Z_OK) {
      return Fail(ErrorKind::kInvalid,
                  std::string("this is no gzip: ") + (stream.msg ? stream.msg : "broken stream"));
    } else if (in.empty()) {
      return filled;
    }
  }
  return filled;
}

bool GzipReader::at_end() const {
  return state_->at_end;
}

bool AcceptsGzip(std::string_view accept_encoding) {
  bool any = false;
  for (const std::string_view item : Split(accept_encoding, ',')) {
    const auto parts = Split(item, ';');
    const std::string name = ToLower(Trim(parts.front()));
    bool refused = false;
    for (std::size_t i = 1; i < parts.size(); ++i) {
      const std::string_view weight = Trim(parts[i]);
      // "q=0", "q=0.0", "q=0.000"
      refused =
          weight.starts_with("q=0") && weight.find_first_not_of("0.", 2) == std::string_view::npos;
    }
    if (name == "gzip") return !refused;
    if (name == "*") any = !refused;
  }
  return any;
}

}  // namespace pinion::http
