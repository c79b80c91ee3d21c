#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// Hand-made tar streams for tests.
namespace pinion::archive {

/// One entry of a hand-made archive.
struct Item {
  std::string name;
  char type = '0';  // as in tar headers
  std::string content;
  std::string link;
  unsigned mode = 0644;
  unsigned owner = 0;
};

inline std::string Octal(std::uint64_t value, int digits) {
  std::string text(static_cast<std::size_t>(digits), '0');
  for (int i = digits - 1; i >= 0; --i, value >>= 3)
    text[static_cast<std::size_t>(i)] += value & 7;
  return text + '\0';
}

/// A ustar header by hand: what libarchive's writer would refuse to write must be tried too.
inline std::string Block(const Item& item) {
  std::string header(512, '\0');
  const auto put = [&](std::size_t at, std::string_view text) {
    header.replace(at, text.size(), text);
  };
  put(0, item.name.substr(0, 100));
  put(100, Octal(item.mode, 7));
  put(108, Octal(item.owner, 7));
  put(116, Octal(item.owner, 7));
  put(124, Octal(item.content.size(), 11));
  put(136, Octal(1'700'000'000, 11));
  put(148, "        ");
  header[156] = item.type;
  put(157, item.link.substr(0, 100));
  put(257, std::string_view("ustar\00000", 8));
  unsigned sum = 0;
  for (const char c : header)
    sum += static_cast<unsigned char>(c);
  put(148, Octal(sum, 6) + " ");
  std::string out = header + item.content;
  out.resize((out.size() + 511) / 512 * 512, '\0');
  return out;
}

inline std::string Tar(const std::vector<Item>& items) {
  std::string out;
  for (const Item& item : items)
    out += Block(item);
  return out + std::string(1024, '\0');
}

}  // namespace pinion::archive
