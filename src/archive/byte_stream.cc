#include "archive/byte_stream.h"

#include <openssl/evp.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/encoding.h"

namespace pinion::archive {

std::size_t TextSource::Read(std::span<char> buffer) {
  const std::size_t count = std::min(buffer.size(), rest_.size());
  if (count > 0) std::memcpy(buffer.data(), rest_.data(), count);
  rest_.remove_prefix(count);
  return count;
}

std::size_t FdSource::Read(std::span<char> buffer) {
  for (;;) {
    const ssize_t got = ::read(fd_, buffer.data(), buffer.size());
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno != EINTR) throw Failure(SystemError("read " + name_, errno));
  }
}

std::size_t LimitedSource::Read(std::span<char> buffer) {
  const std::size_t got = from_.Read(buffer);
  read_ += got;
  if (limit_ > 0 && read_ > limit_) throw Failure(ErrorKind::kTooLarge, message_);
  return got;
}

void Sha256Stream::Free::operator()(void* context) const {
  EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context));
}

Sha256Stream::Sha256Stream() : context_(EVP_MD_CTX_new()) {
  auto* context = static_cast<EVP_MD_CTX*>(context_.get());
  if (!context || EVP_DigestInit_ex(context, EVP_sha256(), nullptr) != 1) {
    throw Failure(ErrorKind::kInternal, "SHA-256 is not available");
  }
}

Sha256Stream::Sha256Stream(Sha256Stream&&) noexcept = default;
Sha256Stream& Sha256Stream::operator=(Sha256Stream&&) noexcept = default;
Sha256Stream::~Sha256Stream() = default;

void Sha256Stream::Add(std::string_view bytes) {
  EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(context_.get()), bytes.data(), bytes.size());
}

std::string Sha256Stream::Hex() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned length = 0;
  EVP_DigestFinal_ex(static_cast<EVP_MD_CTX*>(context_.get()), digest.data(), &length);
  return ToHex(std::string_view(reinterpret_cast<const char*>(digest.data()), length));
}

std::size_t HashingSource::Read(std::span<char> buffer) {
  const std::size_t got = from_.Read(buffer);
  hash_.Add(std::string_view(buffer.data(), got));
  bytes_ += got;
  return got;
}

void Drain(ByteSource& source, std::uint64_t limit) {
  std::array<char, 65536> buffer;
  std::uint64_t drained = 0;
  while (const std::size_t got = source.Read(buffer)) {
    drained += got;
    if (drained > limit) {
      throw Failure(ErrorKind::kTooLarge,
                    "more than " + std::to_string(limit) + " bytes follow the end of the archive");
    }
  }
}

}  // namespace pinion::archive
