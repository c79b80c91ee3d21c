#include <algorithm>
#include <charconv>
#include <cstring>

#include "fleet/worker_calls.h"

namespace pinion::fleet {
namespace {

constexpr std::size_t kBlock = 512;
constexpr std::uint64_t kPaxBytesMax = 1 << 20;

Task<bool> ReadExactly(http::BodyReader& tar, char* out, std::size_t size, std::stop_token stop) {
  std::size_t filled = 0;
  while (filled < size) {
    const std::size_t count = co_await tar.Read({out + filled, size - filled}, stop);
    if (count == 0) co_return false;
    filled += count;
  }
  co_return true;
}

/// Octal digits, or base 256 when the first bit is set.
std::optional<std::uint64_t> Number(std::string_view field) {
  std::uint64_t value = 0;
  if ((static_cast<unsigned char>(field.front()) & 0x80U) != 0) {
    for (const char c : field.substr(field.size() - 8)) {
      value = value << 8U | static_cast<unsigned char>(c);
    }
    return value;
  }
  for (const char c : field) {
    if (c == ' ' && value == 0) continue;
    if (c == ' ' || c == '\0') break;
    if (c < '0' || c > '7') return std::nullopt;
    value = value << 3U | static_cast<std::uint64_t>(c - '0');
  }
  return value;
}

bool ChecksumHolds(std::string_view header) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < kBlock; ++i) {
    sum += i >= 148 && i < 156 ? ' ' : static_cast<unsigned char>(header[i]);
  }
  return Number(header.substr(148, 8)) == sum;
}

/// The "size" record of a pax header ("LENGTH KEY=VALUE\n" each), if it has one.
std::optional<std::uint64_t> PaxSize(std::string_view records) {
  std::optional<std::uint64_t> size;
  while (!records.empty()) {
    std::size_t length = 0;
    const auto parsed = std::from_chars(records.data(), records.data() + records.size(), length);
    if (parsed.ec != std::errc() || length == 0 || length > records.size()) break;
    std::string_view record = records.substr(0, length);
    records.remove_prefix(length);
    record.remove_prefix(std::min(record.size(), record.find(' ') + 1));
    if (!record.starts_with("size=")) continue;
    record.remove_prefix(5);
    std::uint64_t value = 0;
    std::from_chars(record.data(), record.data() + record.size(), value);
    size = value;
  }
  return size;
}

}  // namespace

Task<Result<std::string>> ReadTarFile(http::BodyReader& tar, std::size_t limit,
                                      std::stop_token stop) {
  const auto broken = [] {
    return Fail(ErrorKind::kInvalid, "the worker sent no valid tar stream");
  };
  std::string header(kBlock, '\0');
  std::optional<std::uint64_t> pax_size;
  for (;;) {
    const bool whole = co_await ReadExactly(tar, header.data(), kBlock, stop);
    if (!whole || header.find_first_not_of('\0') == std::string::npos) {
      co_return Fail(ErrorKind::kNotFound, "no such file");
    }
    if (!ChecksumHolds(header)) co_return broken();
    const auto stated = Number(std::string_view(header).substr(124, 12));
    if (!stated) co_return broken();
    const char kind = header[156];
    const bool file = kind == '0' || kind == '\0';
    // A pax size is of the entry after it.
    const std::uint64_t size = file && pax_size ? *pax_size : *stated;
    if (file && size > limit) {
      co_return Fail(ErrorKind::kTooLarge, "the file has " + std::to_string(size) +
                                               " bytes, more than the " + std::to_string(limit) +
                                               " that are accepted");
    }
    if (!file && size > kPaxBytesMax) co_return broken();
    std::string content(size, '\0');
    const bool complete = co_await ReadExactly(tar, content.data(), content.size(), stop);
    if (!complete) co_return broken();
    if (file) co_return content;
    if (kind == 'x') pax_size = PaxSize(content);
    char padding[kBlock];
    const std::size_t rest = (kBlock - size % kBlock) % kBlock;
    const bool padded = co_await ReadExactly(tar, padding, rest, stop);
    if (!padded) co_return broken();
  }
}

}  // namespace pinion::fleet
