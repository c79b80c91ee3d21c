#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace pinion {

/// Base64 with padding, in the standard or the URL alphabet.
std::string ToBase64(std::string_view bytes);
std::string ToBase64Url(std::string_view bytes);  // without padding, as JWTs have it
/// Either alphabet, padding optional; nothing for other input.
std::optional<std::string> FromBase64(std::string_view text);

std::string ToHex(std::string_view bytes);
std::optional<std::string> FromHex(std::string_view text);

/// Percent-encodes everything but unreserved characters.
std::string PercentEncode(std::string_view text);
/// Nothing for a broken escape. `plus_is_space` for queries and forms.
std::optional<std::string> PercentDecode(std::string_view text, bool plus_is_space = false);

/// SHA-256 of the bytes: 32 raw bytes; ToHex() makes the usual text.
std::string Sha256(std::string_view bytes);
/// HMAC with SHA-256, raw.
std::string HmacSha256(std::string_view key, std::string_view bytes);
/// Equal without telling by time where they differ.
bool EqualInConstantTime(std::string_view a, std::string_view b);

/// So many bytes from the kernel's generator.
std::string RandomBytes(std::size_t count);
/// A random version 4 UUID in its usual text form.
std::string RandomUuid();

}  // namespace pinion
