// The TLS client against a server of OpenSSL's own.

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <boost/asio/ip/tcp.hpp>
#include <thread>

#include "http/test_server.h"

namespace pinion::http {
namespace {

struct Certificate {
  std::string pem;
  std::string key_pem;
};

std::string Take(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<std::size_t>(size));
  BIO_free(bio);
  return text;
}

/// A certificate signed with its own key, for these names ("DNS:localhost,IP:127.0.0.1").
Certificate MakeCertificate(const std::string& names) {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = X509_new();
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
  X509_NAME* name = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("test"), -1, -1, 0);
  X509_set_issuer_name(certificate, name);
  X509_set_pubkey(certificate, key);
  X509_EXTENSION* alternatives =
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, names.c_str());
  X509_add_ext(certificate, alternatives, -1);
  X509_EXTENSION_free(alternatives);
  X509_sign(certificate, key, EVP_sha256());
  BIO* pem = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(pem, certificate);
  BIO* key_pem = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(key_pem, key, nullptr, nullptr, 0, nullptr, nullptr);
  X509_free(certificate);
  EVP_PKEY_free(key);
  return {Take(pem), Take(key_pem)};
}

/// Answers so many connections on a thread: reads a request, answers "hello", many times until the
/// client closes.
class TlsServer {
 public:
  TlsServer(const Certificate& certificate, int connections, std::string client_ca = {})
      : acceptor_(context_, {boost::asio::ip::address_v4::loopback(), 0}) {
    tls_ = SSL_CTX_new(TLS_server_method());
    BIO* pem = BIO_new_mem_buf(certificate.pem.data(), static_cast<int>(certificate.pem.size()));
    X509* x509 = PEM_read_bio_X509(pem, nullptr, nullptr, nullptr);
    SSL_CTX_use_certificate(tls_, x509);
    X509_free(x509);
    BIO_free(pem);
    BIO* key =
        BIO_new_mem_buf(certificate.key_pem.data(), static_cast<int>(certificate.key_pem.size()));
    EVP_PKEY* pkey = PEM_read_bio_PrivateKey(key, nullptr, nullptr, nullptr);
    SSL_CTX_use_PrivateKey(tls_, pkey);
    EVP_PKEY_free(pkey);
    BIO_free(key);
    if (!client_ca.empty()) {
      BIO* ca = BIO_new_mem_buf(client_ca.data(), static_cast<int>(client_ca.size()));
      X509* authority = PEM_read_bio_X509(ca, nullptr, nullptr, nullptr);
      X509_STORE_add_cert(SSL_CTX_get_cert_store(tls_), authority);
      X509_free(authority);
      BIO_free(ca);
      SSL_CTX_set_verify(tls_, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    }
    thread_ = std::thread([this, connections] {
      for (int i = 0; i < connections; ++i)
        Serve(acceptor_.accept());
    });
  }
  TlsServer(const TlsServer&) = delete;
  TlsServer& operator=(const TlsServer&) = delete;
  ~TlsServer() {
    thread_.join();
    SSL_CTX_free(tls_);
  }
  std::string Url(const std::string& host) const {
    return "https://" + host + ":" + std::to_string(acceptor_.local_endpoint().port());
  }

 private:
  void Serve(boost::asio::ip::tcp::socket socket) {
    SSL* session = SSL_new(tls_);
    SSL_set_fd(session, socket.native_handle());
    std::string received;
    if (SSL_accept(session) == 1) {
      char chunk[65536];
      for (;;) {
        const int got = SSL_read(session, chunk, sizeof chunk);
        if (got <= 0) break;
        received.append(chunk, static_cast<std::size_t>(got));
        const std::size_t end = received.find("\r\n\r\n");
        if (end == std::string::npos) continue;
        const std::string length = std::to_string(received.size() - end - 4);
        // The whole body is there when it ends so.
        if (received.starts_with("POST") && !received.ends_with("end")) continue;
        const std::string body = length + std::string(100'000, 'y');
        const std::string answer =
            "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
        received.clear();
        SSL_key_update(session, SSL_KEY_UPDATE_REQUESTED);
        SSL_write(session, answer.data(), static_cast<int>(answer.size()));
      }
    }
    SSL_free(session);
  }

  boost::asio::io_context context_;
  boost::asio::ip::tcp::acceptor acceptor_;
  SSL_CTX* tls_ = nullptr;
  std::thread thread_;
};

class TlsTest : public ServerTest {
 public:
  std::string FailureOf(const ClientOptions& options) {
    const auto client = MakeClient(options);
    try {
      Run(Ask(*client, {}));
    } catch (const Failure& failure) {
      return failure.what();
    }
    return "answered";
  }
};

TEST_F(TlsTest, AsksPeersItTrustsOverKeptConnections) {
  const auto certificate = MakeCertificate("DNS:localhost,IP:127.0.0.1");
  const TlsServer server(certificate, 1);
  const auto client =
      MakeClient({.url = server.Url("127.0.0.1"), .ca_certificates = certificate.pem});
  for (int i = 0; i < 3; ++i) {
    const auto answer = Run(Ask(*client, {}));
    EXPECT_EQ(answer.body.size(), 100'001U);
    EXPECT_EQ(answer.body.front(), '0');
  }
  const auto large =
      Run(Ask(*client, {.method = "POST", .body = std::string(3'000'000, 'x') + "end"}));
  EXPECT_TRUE(large.body.starts_with("3000003y")) << large.body.substr(0, 20);
}

TEST_F(TlsTest, RefusesWhomItDoesNotTrust) {
  const auto certificate = MakeCertificate("DNS:other.example");
  const TlsServer server(certificate, 3);
  const std::string url = server.Url("127.0.0.1");
  EXPECT_NE(FailureOf({.url = url}).find("certificate is refused"), std::string::npos);
  const std::string wrong_name = FailureOf({.url = url, .ca_certificates = certificate.pem});
  EXPECT_NE(wrong_name.find("IP address mismatch"), std::string::npos) << wrong_name;
  EXPECT_EQ(FailureOf({.url = url, .insecure = true}), "answered");
}

TEST_F(TlsTest, ShowsAClientCertificate) {
  const auto certificate = MakeCertificate("IP:127.0.0.1");
  const auto mine = MakeCertificate("DNS:client");
  const TlsServer server(certificate, 2, mine.pem);
  ClientOptions options{.url = server.Url("127.0.0.1"), .ca_certificates = certificate.pem};
  EXPECT_NE(FailureOf(options), "answered");
  options.client_certificate = mine.pem;
  options.client_key = mine.key_pem;
  EXPECT_EQ(FailureOf(options), "answered");
}

TEST_F(TlsTest, NamesOptionsThatHoldNoPem) {
  const std::string url = "https://127.0.0.1:1";
  EXPECT_EQ(FailureOf({.url = url, .ca_certificates = "x"}),
            "GET https://127.0.0.1:1/: CA certificates: there is none in PEM");
  EXPECT_NE(FailureOf({.url = url, .client_certificate = "x"}).find("client certificate: "),
            std::string::npos);
}

TEST_F(TlsTest, GivesUpOnPeersThatSpeakNoTls) {
  Serve([](Exchange& exchange) -> Task<void> { co_await exchange.Respond({}); });
  const std::string failure = FailureOf({.url = "https://" + Address()});
  EXPECT_NE(failure.find(": TLS: "), std::string::npos) << failure;
}

}  // namespace
}  // namespace pinion::http
