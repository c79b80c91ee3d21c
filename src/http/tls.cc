#include "http/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <array>

#include "async/signal.h"

namespace pinion::http {

namespace {

template <auto kFree>
struct Free {
  template <class T>
  void operator()(T* pointer) const {
    kFree(pointer);
  }
};
using Context = std::unique_ptr<SSL_CTX, Free<SSL_CTX_free>>;
using Session = std::unique_ptr<SSL, Free<SSL_free>>;
using Bio = std::unique_ptr<BIO, Free<BIO_free_all>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;

std::string LastTlsError() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return "unknown reason";
  const char* reason = ERR_reason_error_string(code);
  return reason ? reason : "error " + std::to_string(code);
}

Bio Memory(std::string_view text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

/// OpenSSL between two buffers in memory: it never touches the socket, so that waiting and stopping
/// are those of the plain socket beneath.
class TlsSocket final : public Socket {
 public:
  TlsSocket(Session session, std::unique_ptr<Socket> plain)
      : session_(std::move(session)), plain_(std::move(plain)) {
    in_ = BIO_new(BIO_s_mem());
    out_ = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(in_, -1);
    SSL_set_bio(session_.get(), in_, out_);
  }

  Task<void> ShakeHands(std::stop_token stop) {
    for (;;) {
      ERR_clear_error();
      const int outcome = SSL_connect(session_.get());
      co_await SendPending(stop);
      if (outcome == 1) co_return;
      if (SSL_get_error(session_.get(), outcome) != SSL_ERROR_WANT_READ) ThrowHandshake();
      const bool more = co_await Receive(stop);
      if (!more) throw BrokenOff("TLS: the peer closed during the handshake");
    }
  }

  Task<std::size_t> Read(std::span<char> buffer, std::stop_token stop) override {
    ThrowIfStopped(stop);
    for (;;) {
      if (const auto got = TryRead(buffer)) co_return *got;
      if (BIO_ctrl_pending(out_) > 0) co_await SendPending(stop);  // the answer to a key update
      const bool more = co_await Receive(stop);
      if (!more) throw BrokenOff("TLS: the connection was cut off");
    }
  }

  std::optional<std::size_t> ReadNow(std::span<char> buffer) override {
    try {
      for (;;) {
        if (const auto got = TryRead(buffer)) return got;
        std::array<char, kRecord> chunk;
        const auto got = plain_->ReadNow(chunk);
        if (!got) return std::nullopt;
        if (*got == 0) return 0;
        BIO_write(in_, chunk.data(), static_cast<int>(*got));
      }
    } catch (const Failure&) {
      return 0;
    }
  }

  Task<void> Write(Pieces pieces, std::stop_token stop) override {
    ThrowIfStopped(stop);
    if (write_broken_) throw BrokenOff("TLS: an earlier write was given up");
    write_broken_ = true;  // until it is done: a record that is sent in part ends the connection
    for (std::string_view piece : pieces) {
      while (!piece.empty()) {
        const std::string_view record = piece.substr(0, kRecord);
        ERR_clear_error();
        const int outcome =
            SSL_write(session_.get(), record.data(), static_cast<int>(record.size()));
        if (outcome <= 0) throw BrokenOff("TLS: write: " + LastTlsError());
        piece.remove_prefix(static_cast<std::size_t>(outcome));
        if (BIO_ctrl_pending(out_) > 4 * kRecord) co_await SendPending(stop);
      }
    }
    co_await SendPending(stop);
    write_broken_ = false;
  }

  void Unread(std::string_view bytes) override { unread_.insert(0, bytes); }

  void CloseWrite() override {
    SSL_shutdown(session_.get());
    std::array<char, 256> alert;
    const int count = BIO_read(out_, alert.data(), alert.size());
    // Best effort: if the kernel has no room for these bytes, the peer sees the connection's end.
    if (count > 0 && !write_broken_) {
      plain_->WriteNow(std::string_view(alert.data(), static_cast<std::size_t>(count)));
    }
    plain_->CloseWrite();
  }
  void Close() override { plain_->Close(); }
  void Reset() override { plain_->Reset(); }
  void WatchReadable(std::move_only_function<void()> action) override {
    plain_->WatchReadable(std::move(action));
  }
  bool Quiet() override {
    if (!unread_.empty() || SSL_pending(session_.get()) > 0) return false;
    if (plain_->Quiet()) return true;
    // Session tickets come after the first answer: they are no sign of a dead connection.
    char byte;
    const auto got = ReadNow({&byte, 1});
    return !got;
  }
  void SetStallTimeouts(Duration read, Duration write) override {
    plain_->SetStallTimeouts(read, write);
  }
  bool WriteNow(std::string_view) override { return false; }

 private:
  static constexpr std::size_t kRecord = 16 << 10;

  std::optional<std::size_t> TryRead(std::span<char> buffer) {
    if (!unread_.empty()) {
      const std::size_t count = unread_.copy(buffer.data(), buffer.size());
      unread_.erase(0, count);
      return count;
    }
    ERR_clear_error();
    const int outcome =
        SSL_read(session_.get(), buffer.data(), static_cast<int>(std::min(buffer.size(), kRecord)));
    if (outcome > 0) return static_cast<std::size_t>(outcome);
    switch (SSL_get_error(session_.get(), outcome)) {
      case SSL_ERROR_WANT_READ:
        return std::nullopt;
      case SSL_ERROR_ZERO_RETURN:
        return 0;
      default:
        throw BrokenOff("TLS: read: " + LastTlsError());
    }
  }

  Task<bool> Receive(std::stop_token stop) {
    std::array<char, kRecord> chunk;
    const std::size_t got = co_await plain_->Read(chunk, std::move(stop));
    if (got > 0) BIO_write(in_, chunk.data(), static_cast<int>(got));
    co_return got > 0;
  }

  Task<void> SendPending(std::stop_token stop) {
    const auto permit = co_await sending_.Acquire(stop);
    while (BIO_ctrl_pending(out_) > 0) {
      std::string bytes(BIO_ctrl_pending(out_), '\0');
      const int count = BIO_read(out_, bytes.data(), static_cast<int>(bytes.size()));
      bytes.resize(static_cast<std::size_t>(std::max(count, 0)));
      const bool broken = std::exchange(write_broken_, true);
      co_await plain_->Write({bytes}, stop);
      write_broken_ = broken;
    }
  }

  [[noreturn]] void ThrowHandshake() {
    const long verdict = SSL_get_verify_result(session_.get());
    if (verdict != X509_V_OK) {
      throw Failure(ErrorKind::kUnavailable,
                    std::string("TLS: the peer's certificate is refused: ") +
                        X509_verify_cert_error_string(verdict));
    }
    throw Failure(ErrorKind::kUnavailable, "TLS: " + LastTlsError());
  }

  Session session_;
  std::unique_ptr<Socket> plain_;
  BIO* in_;   // owned by the session
  BIO* out_;  // owned by the session
  std::string unread_;
  bool write_broken_ = false;
  Semaphore sending_{1};  ///< reading sends too, at times
};

class OpenSslContext final : public TlsContext {
 public:
  OpenSslContext(Context context, bool insecure)
      : context_(std::move(context)), insecure_(insecure) {}

  Task<std::unique_ptr<Socket>> Wrap(std::unique_ptr<Socket> socket, std::string host,
                                     std::stop_token stop) override {
    Session session(SSL_new(context_.get()));
    if (!session) throw Failure(ErrorKind::kInternal, "TLS: " + LastTlsError());
    in6_addr ignored;
    const bool is_ip = inet_pton(AF_INET, host.c_str(), &ignored) == 1 ||
                       inet_pton(AF_INET6, host.c_str(), &ignored) == 1;
    if (!is_ip) SSL_set_tlsext_host_name(session.get(), host.c_str());
    if (!insecure_) {
      X509_VERIFY_PARAM* check = SSL_get0_param(session.get());
      if (is_ip) {
        X509_VERIFY_PARAM_set1_ip_asc(check, host.c_str());
      } else {
        X509_VERIFY_PARAM_set_hostflags(check, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        X509_VERIFY_PARAM_set1_host(check, host.data(), host.size());
      }
    }
    auto wrapped = std::make_unique<TlsSocket>(std::move(session), std::move(socket));
    co_await wrapped->ShakeHands(stop);
    co_return wrapped;
  }

 private:
  Context context_;
  bool insecure_;
};

Result<void> AddAuthorities(SSL_CTX* context, std::string_view pem) {
  const Bio bio = Memory(pem);
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  int count = 0;
  while (const Certificate certificate{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)}) {
    X509_STORE_add_cert(store, certificate.get());
    ++count;
  }
  ERR_clear_error();  // the loop ends with "no start line"
  if (count == 0) return Fail(ErrorKind::kInvalid, "CA certificates: there is none in PEM");
  return {};
}

Result<void> UseCertificate(SSL_CTX* context, const TlsOptions& options) {
  const Bio certificate_bio = Memory(options.client_certificate);
  const Certificate certificate(
      PEM_read_bio_X509(certificate_bio.get(), nullptr, nullptr, nullptr));
  if (!certificate || SSL_CTX_use_certificate(context, certificate.get()) != 1) {
    return Fail(ErrorKind::kInvalid, "client certificate: " + LastTlsError());
  }
  while (X509* link = PEM_read_bio_X509(certificate_bio.get(), nullptr, nullptr, nullptr)) {
    SSL_CTX_add_extra_chain_cert(context, link);  // takes it over
  }
  ERR_clear_error();
  const Bio key_bio = Memory(options.client_key);
  const Key key(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr));
  if (!key || SSL_CTX_use_PrivateKey(context, key.get()) != 1) {
    return Fail(ErrorKind::kInvalid, "client key: " + LastTlsError());
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<TlsContext>> TlsContext::Make(const TlsOptions& options) {
  Context context(SSL_CTX_new(TLS_client_method()));
  if (!context) return Fail(ErrorKind::kInternal, "TLS: " + LastTlsError());
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  // A peer that closes without TLS's own end is usual; HTTP's framing tells what is missing.
  SSL_CTX_set_options(context.get(), SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS);
  if (options.insecure) {
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_NONE, nullptr);
  } else {
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set_default_verify_paths(context.get());
  }
  if (!options.ca_certificates.empty()) {
    auto added = AddAuthorities(context.get(), options.ca_certificates);
    if (!added) return std::unexpected(std::move(added).error());
  }
  if (!options.client_certificate.empty()) {
    auto used = UseCertificate(context.get(), options);
    if (!used) return std::unexpected(std::move(used).error());
  }
  return std::make_shared<OpenSslContext>(std::move(context), options.insecure);
}

}  // namespace pinion::http
