#include "worker/images/http_session.h"

#include <curl/curl.h>

#include <exception>

#include "base/files.h"
#include "base/text.h"

namespace pinion::registry {
namespace {

// What curl's callbacks work on during one call.
struct Transfer {
  const HttpRequest& request;
  const std::stop_token& stop;
  const HttpSession::OnHead& on_head;
  const HttpSession::Sink& sink;
  HttpAnswer answer{};
  CURL* handle = nullptr;
  bool head_seen = false;
  bool streamed = false;
  bool too_large = false;
  std::exception_ptr error{};
};

std::size_t OnHeader(char* data, std::size_t, std::size_t size, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  const std::string_view line = Trim(std::string_view(data, size));
  if (line.starts_with("HTTP/")) {
    transfer.answer.headers.clear();  // of a redirect before, or "100 Continue"
    return size;
  }
  const std::size_t colon = line.find(':');
  if (colon != std::string_view::npos && transfer.answer.headers.size() < 200) {
    transfer.answer.headers[ToLower(line.substr(0, colon))] = Trim(line.substr(colon + 1));
  }
  return size;
}

std::size_t OnBody(char* data, std::size_t, std::size_t size, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  try {
    if (!transfer.head_seen) {
      transfer.head_seen = true;
      long status = 0;
      curl_easy_getinfo(transfer.handle, CURLINFO_RESPONSE_CODE, &status);
      transfer.answer.status = static_cast<int>(status);
      transfer.streamed = transfer.on_head && transfer.on_head(transfer.answer);
    }
    if (transfer.streamed) {
      transfer.sink(std::string_view(data, size));
    } else if (transfer.answer.body.size() + size > transfer.request.body_bytes_max) {
      transfer.too_large = true;
      return 0;
    } else {
      transfer.answer.body.append(data, size);
    }
    return size;
  } catch (...) {
    transfer.error = std::current_exception();
    return 0;
  }
}

std::size_t OnUpload(char* buffer, std::size_t, std::size_t size, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  try {
    return transfer.request.upload(buffer, size);
  } catch (...) {
    transfer.error = std::current_exception();
    return CURL_READFUNC_ABORT;
  }
}

int OnProgress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<Transfer*>(user)->stop.stop_requested() ? 1 : 0;
}

}  // namespace

std::string_view HttpAnswer::Header(const std::string& name) const {
  const auto at = headers.find(name);
  return at == headers.end() ? std::string_view() : std::string_view(at->second);
}

struct HttpSession::Impl {
  CURL* handle = nullptr;
  HttpOptions options;
  std::string certificates;

  ~Impl() {
    if (handle) curl_easy_cleanup(handle);
  }
  void Prepare(Transfer& transfer, curl_slist* headers);
};

HttpSession::HttpSession(const HttpOptions& options) : impl_(std::make_unique<Impl>()) {
  static const bool ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  impl_->handle = ready ? curl_easy_init() : nullptr;
  if (!impl_->handle) throw Failure(ErrorKind::kInternal, "libcurl cannot be initialised");
  impl_->options = options;
  if (!options.ca_certificates.empty()) {
    impl_->certificates = ReadFile("/etc/ssl/certs/ca-certificates.crt").value_or("");
    for (const std::string& certificate : options.ca_certificates) {
      impl_->certificates += "\n" + certificate + "\n";
    }
  }
}

HttpSession::~HttpSession() = default;

void HttpSession::Impl::Prepare(Transfer& transfer, curl_slist* headers) {
  const HttpRequest& request = transfer.request;
  curl_easy_reset(handle);  // connections stay
  const auto set = [this](CURLoption option, auto value) {
    if (curl_easy_setopt(handle, option, value) != CURLE_OK) {
      throw Failure(ErrorKind::kInternal, "libcurl refuses an option");
    }
  };
  const auto whole_seconds = [](Duration duration) {
    return static_cast<long>(std::chrono::ceil<std::chrono::seconds>(duration).count());
  };
  set(CURLOPT_URL, request.url.c_str());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  set(CURLOPT_FOLLOWLOCATION, request.follow_redirects ? 1L : 0L);
  set(CURLOPT_MAXREDIRS, 5L);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_CONNECTTIMEOUT, whole_seconds(options.connect_timeout));
  set(CURLOPT_LOW_SPEED_LIMIT, 1L);
  set(CURLOPT_LOW_SPEED_TIME, whole_seconds(options.stall_timeout));
  set(CURLOPT_BUFFERSIZE, 256L << 10);
  set(CURLOPT_USERAGENT, "pinion");
  set(CURLOPT_HTTPHEADER, headers);
  set(CURLOPT_HEADERFUNCTION, &OnHeader);
  set(CURLOPT_HEADERDATA, static_cast<void*>(&transfer));
  set(CURLOPT_WRITEFUNCTION, &OnBody);
  set(CURLOPT_WRITEDATA, static_cast<void*>(&transfer));
  set(CURLOPT_XFERINFOFUNCTION, &OnProgress);
  set(CURLOPT_XFERINFODATA, static_cast<void*>(&transfer));
  set(CURLOPT_NOPROGRESS, 0L);
  if (options.insecure) {
    set(CURLOPT_SSL_VERIFYPEER, 0L);
    set(CURLOPT_SSL_VERIFYHOST, 0L);
  }
  if (!certificates.empty()) {
    curl_blob blob{certificates.data(), certificates.size(), CURL_BLOB_NOCOPY};
    set(CURLOPT_CAINFO_BLOB, &blob);
  }
  if (request.method == "HEAD") {
    set(CURLOPT_NOBODY, 1L);
  } else if (request.upload) {
    set(CURLOPT_UPLOAD, 1L);
    set(CURLOPT_READFUNCTION, &OnUpload);
    set(CURLOPT_READDATA, static_cast<void*>(&transfer));
    set(CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(request.upload_bytes));
    set(CURLOPT_CUSTOMREQUEST, request.method.c_str());
  } else if (request.method != "GET") {
    set(CURLOPT_CUSTOMREQUEST, request.method.c_str());
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    set(CURLOPT_POSTFIELDS, request.body.data());
  }
}

HttpAnswer HttpSession::Perform(const HttpRequest& request, const std::stop_token& stop,
                                OnHead on_head, Sink sink) {
  if (stop.stop_requested()) throw Cancelled();
  Transfer transfer{request, stop, on_head, sink};
  transfer.handle = impl_->handle;
  struct FreeList {
    void operator()(curl_slist* list) const { curl_slist_free_all(list); }
  };
  std::unique_ptr<curl_slist, FreeList> headers;
  for (const std::string& header : request.headers) {
    headers.reset(curl_slist_append(headers.release(), header.c_str()));
  }
  // curl would wait a second for "100 Continue".
  headers.reset(curl_slist_append(headers.release(), "Expect:"));
  impl_->Prepare(transfer, headers.get());
  char detail[CURL_ERROR_SIZE] = "";
  curl_easy_setopt(impl_->handle, CURLOPT_ERRORBUFFER, detail);
  const CURLcode code = curl_easy_perform(impl_->handle);
  curl_easy_setopt(impl_->handle, CURLOPT_ERRORBUFFER, nullptr);
  if (transfer.error) std::rethrow_exception(transfer.error);
  if (stop.stop_requested() && code != CURLE_OK) throw Cancelled();
  HttpAnswer& answer = transfer.answer;
  long status = 0;
  curl_easy_getinfo(impl_->handle, CURLINFO_RESPONSE_CODE, &status);
  answer.status = static_cast<int>(status);
  char* url = nullptr;
  curl_easy_getinfo(impl_->handle, CURLINFO_EFFECTIVE_URL, &url);
  if (url) answer.url = url;
  if (transfer.too_large) {
    throw Failure(ErrorKind::kTooLarge,
                  "the answer is larger than " + std::to_string(request.body_bytes_max) + " bytes");
  }
  if (code != CURLE_OK) {
    answer.error = *detail ? detail : curl_easy_strerror(code);
  } else if (!transfer.head_seen && on_head) {
    on_head(answer);  // an answer without a body
  }
  return std::move(transfer.answer);
}

}  // namespace pinion::registry
