#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include "archive/byte_stream.h"

namespace pinion::archive {

/// How a tar stream is compressed on its way.
enum class Encoding { kRaw, kGzip, kZstd };

std::string_view Name(Encoding encoding);
/// "raw", "gzip" or "zstd"; empty text is gzip, as Baggageclaim's peers expect. kInvalid names what
/// was asked for and what there is.
Result<Encoding> ParseEncoding(std::string_view name);

/// What the first bytes of a stream (four or more) say.
Encoding Sniff(std::string_view head);

/// Decompresses `from`, which outlives it. Several gzip members or zstd frames in a row are one
/// stream. Damaged or cut input is kInvalid. Windows over 128 MiB are refused, so that the memory
/// of a stream stays bounded.
std::unique_ptr<ByteSource> MakeDecoder(ByteSource& from, Encoding encoding);
/// As above, the encoding taken from the first bytes.
std::unique_ptr<ByteSource> MakeSniffingDecoder(ByteSource& from);
/// Compresses into `to`, which outlives it, at the fastest level. Its Finish() finishes `to` too.
std::unique_ptr<ByteSink> MakeEncoder(ByteSink& to, Encoding encoding);

}  // namespace pinion::archive
