#include "api/errors.h"

#include <string>

namespace pinion::api {

int StatusOf(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalid:
      return 400;
    case ErrorKind::kUnauthorized:
      return 401;
    case ErrorKind::kForbidden:
      return 403;
    case ErrorKind::kNotFound:
      return 404;
    case ErrorKind::kConflict:
      return 409;
    case ErrorKind::kTooLarge:
      return 413;
    case ErrorKind::kTimeout:
      return 504;
    case ErrorKind::kUnavailable:
      return 503;
    case ErrorKind::kInternal:
      break;
  }
  return 500;
}

http::Response ErrorAnswer(const Error& error, std::string_view request_id) {
  http::Response response;
  response.status = StatusOf(error.kind);
  response.headers.Set("Content-Type", "text/plain; charset=utf-8");
  if (response.status == 500) {
    response.body = "internal error; the log has it under request " + std::string(request_id);
  } else if (error.kind == ErrorKind::kUnauthorized) {
    response.body = "not authorized";
  } else {
    response.body = error.message;
  }
  return response;
}

}  // namespace pinion::api
