#pragma once

#include <memory>
#include <string>

#include "http/socket.h"

/// Internal to the module: TLS for clients, over OpenSSL.
namespace pinion::http {

struct TlsOptions {
  std::string ca_certificates;  ///< PEM, beside the system's
  std::string client_certificate;
  std::string client_key;
  bool insecure = false;
};

/// What connections to one peer share: certificates.
class TlsContext {
 public:
  /// kInvalid names the option that holds no usable PEM.
  static Result<std::shared_ptr<TlsContext>> Make(const TlsOptions& options);
  virtual ~TlsContext() = default;
  /// Shakes hands; the certificate must be for `host` unless insecure. Failure(kUnavailable) says
  /// why not.
  virtual Task<std::unique_ptr<Socket>> Wrap(std::unique_ptr<Socket> socket, std::string host,
                                             std::stop_token stop) = 0;
};

}  // namespace pinion::http
