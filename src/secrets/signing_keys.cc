#include "secrets/signing_keys.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "base/encoding.h"

namespace pinion::secrets {
namespace {

constexpr int kRsaBits = 2048;
constexpr int kCurveBytes = 32;  // of each half of a P-256 signature

template <class T, void (*free_it)(T*)>
struct Freed {
  void operator()(T* thing) const { free_it(thing); }
};
template <class T, void (*free_it)(T*)>
using Owned = std::unique_ptr<T, Freed<T, free_it>>;
using OwnedBio = Owned<BIO, BIO_free_all>;
using OwnedNumber = Owned<BIGNUM, BN_free>;

std::shared_ptr<EVP_PKEY> Own(EVP_PKEY* key) {
  if (!key) throw Failure(ErrorKind::kInternal, "a signing key could not be made");
  return {key, EVP_PKEY_free};
}

void WritePem(BIO* out, EVP_PKEY* key) {
  if (PEM_write_bio_PrivateKey(out, key, nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    throw Failure(ErrorKind::kInternal, "a signing key could not be written");
  }
}

/// A number of the key in base64url, padded with zeros to `bytes` if that is more.
std::string Number(EVP_PKEY* key, const char* name, int bytes = 0) {
  BIGNUM* raw = nullptr;
  if (EVP_PKEY_get_bn_param(key, name, &raw) != 1) {
    throw Failure(ErrorKind::kInternal, std::string("a signing key has no ") + name);
  }
  const OwnedNumber number(raw);
  std::string text(static_cast<std::size_t>(std::max(BN_num_bytes(raw), bytes)), '\0');
  BN_bn2binpad(raw, reinterpret_cast<unsigned char*>(text.data()), static_cast<int>(text.size()));
  return ToBase64Url(text);
}

JsonObject PublicRsa(EVP_PKEY* key) {
  return {{"kty", "RSA"},
          {"alg", "RS256"},
          {"use", "sig"},
          {"n", Number(key, OSSL_PKEY_PARAM_RSA_N)},
          {"e", Number(key, OSSL_PKEY_PARAM_RSA_E)}};
}

JsonObject PublicCurve(EVP_PKEY* key) {
  return {{"kty", "EC"},
          {"alg", "ES256"},
          {"use", "sig"},
          {"crv", "P-256"},
          {"x", Number(key, OSSL_PKEY_PARAM_EC_PUB_X, kCurveBytes)},
          {"y", Number(key, OSSL_PKEY_PARAM_EC_PUB_Y, kCurveBytes)}};
}

JsonObject WithId(JsonObject key) {
  const std::string id = ToHex(Sha256(ToText(key))).substr(0, 32);
  key.Set("kid", id);
  return key;
}

std::string RawSignature(EVP_PKEY* key, std::string_view text) {
  const Owned<EVP_MD_CTX, EVP_MD_CTX_free> context(EVP_MD_CTX_new());
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
  std::size_t size = 0;
  if (EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key) != 1 ||
      EVP_DigestSign(context.get(), nullptr, &size, bytes, text.size()) != 1) {
    throw Failure(ErrorKind::kInternal, "a token could not be signed");
  }
  std::string signature(size, '\0');
  if (EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                     bytes, text.size()) != 1) {
    throw Failure(ErrorKind::kInternal, "a token could not be signed");
  }
  signature.resize(size);
  return signature;
}

/// JWTs want both numbers one after the other, not OpenSSL's DER.
std::string CurveSignature(const std::string& der) {
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  const Owned<ECDSA_SIG, ECDSA_SIG_free> numbers(
      d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size())));
  if (!numbers) throw Failure(ErrorKind::kInternal, "a token's signature could not be read");
  std::string signature(2 * kCurveBytes, '\0');
  auto* out = reinterpret_cast<unsigned char*>(signature.data());
  BN_bn2binpad(ECDSA_SIG_get0_r(numbers.get()), out, kCurveBytes);
  BN_bn2binpad(ECDSA_SIG_get0_s(numbers.get()), out + kCurveBytes, kCurveBytes);
  return signature;
}

}  // namespace

SigningKeys SigningKeys::Make() {
  return {Own(EVP_RSA_gen(kRsaBits)), Own(EVP_EC_gen("P-256"))};
}

Result<SigningKeys> SigningKeys::Parse(std::string_view text) {
  const OwnedBio in(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  EVP_PKEY* rsa = PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, nullptr);
  EVP_PKEY* curve = rsa ? PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, nullptr) : nullptr;
  if (!curve) {
    EVP_PKEY_free(rsa);
    return Fail(ErrorKind::kInvalid, "the kept signing keys cannot be read");
  }
  return SigningKeys(Own(rsa), Own(curve));
}

std::string SigningKeys::Text() const {
  const OwnedBio out(BIO_new(BIO_s_mem()));
  WritePem(out.get(), rsa_.get());
  WritePem(out.get(), curve_.get());
  char* data = nullptr;
  const long size = BIO_get_mem_data(out.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

std::string SigningKeys::Sign(std::string_view algorithm, const Json& claims) const {
  const bool curve = algorithm == "ES256";
  if (!curve && algorithm != "RS256") {
    throw Failure(ErrorKind::kInvalid, "invalid algorithm '" + std::string(algorithm) +
                                           "': only RS256 and ES256 are supported");
  }
  EVP_PKEY* key = curve ? curve_.get() : rsa_.get();
  const JsonObject published = WithId(curve ? PublicCurve(key) : PublicRsa(key));
  const JsonObject header{{"alg", algorithm}, {"kid", *published.Find("kid")}};
  const std::string text = ToBase64Url(ToText(header)) + "." + ToBase64Url(ToText(claims));
  const std::string signature = RawSignature(key, text);
  return text + "." + ToBase64Url(curve ? CurveSignature(signature) : signature);
}

Json SigningKeys::PublicKeys() const {
  return JsonObject{
      {"keys", JsonArray{WithId(PublicRsa(rsa_.get())), WithId(PublicCurve(curve_.get()))}}};
}

}  // namespace pinion::secrets
