#include "http/message.h"

#include <algorithm>

#include "base/encoding.h"
#include "base/text.h"

namespace pinion::http {

namespace {

bool SameName(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; };
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                            [&](char x, char y) { return lower(x) == lower(y); });
}

}  // namespace

std::string_view Headers::Get(std::string_view name) const {
  for (const auto& [field, value] : fields_) {
    if (SameName(field, name)) return value;
  }
  return {};
}

bool Headers::Has(std::string_view name) const {
  return std::ranges::any_of(fields_,
                             [&](const auto& field) { return SameName(field.first, name); });
}

void Headers::Set(std::string_view name, std::string value) {
  Erase(name);
  Add(name, std::move(value));
}

void Headers::Add(std::string_view name, std::string value) {
  fields_.emplace_back(std::string(name), std::move(value));
}

void Headers::Erase(std::string_view name) {
  std::erase_if(fields_, [&](const auto& field) { return SameName(field.first, name); });
}

Result<Query> Query::Parse(std::string_view text) {
  Query query;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('&'), text.size());
    const std::string_view item = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (item.empty()) continue;
    const std::size_t equals = std::min(item.find('='), item.size());
    auto name = PercentDecode(item.substr(0, equals), true);
    auto value = PercentDecode(item.substr(std::min(equals + 1, item.size())), true);
    if (!name || !value) {
      return Fail(ErrorKind::kInvalid,
                  "broken percent escape in \"" + std::string(item.substr(0, 100)) + "\"");
    }
    query.items_.emplace_back(std::move(*name), std::move(*value));
  }
  return query;
}

std::optional<std::string_view> Query::Get(std::string_view name) const {
  for (const auto& [key, value] : items_) {
    if (key == name) return value;
  }
  return std::nullopt;
}

std::vector<std::string_view> Query::All(std::string_view name) const {
  std::vector<std::string_view> values;
  for (const auto& [key, value] : items_) {
    if (key == name) values.push_back(value);
  }
  return values;
}

Task<std::optional<std::string>> LineReader::Next(std::stop_token stop) {
  constexpr std::size_t kChunk = 16 << 10;
  std::size_t searched = 0;
  for (;;) {
    const std::size_t feed = buffer_.find('\n', searched);
    if (std::min(feed, buffer_.size()) > limit_) {
      throw Failure(ErrorKind::kTooLarge,
                    "a line is longer than " + std::to_string(limit_) + " bytes");
    }
    if (feed != std::string::npos) {
      std::string line = buffer_.substr(0, feed);
      buffer_.erase(0, feed + 1);
      co_return line;
    }
    searched = buffer_.size();
    char chunk[kChunk];
    const std::size_t got = co_await stream_.Read(chunk, stop);
    if (got == 0) {
      if (buffer_.empty()) co_return std::nullopt;
      co_return std::exchange(buffer_, {});
    }
    buffer_.append(chunk, got);
  }
}

}  // namespace pinion::http
