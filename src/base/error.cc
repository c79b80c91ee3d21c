#include "base/error.h"

#include <cerrno>
#include <system_error>

namespace pinion {

std::string_view Name(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalid:
      return "invalid";
    case ErrorKind::kUnauthorized:
      return "unauthorized";
    case ErrorKind::kForbidden:
      return "forbidden";
    case ErrorKind::kNotFound:
      return "not found";
    case ErrorKind::kConflict:
      return "conflict";
    case ErrorKind::kTooLarge:
      return "too large";
    case ErrorKind::kTimeout:
      return "timeout";
    case ErrorKind::kUnavailable:
      return "unavailable";
    case ErrorKind::kInternal:
      return "internal";
  }
  return "unknown";
}

Error& Error::Context(std::string_view words) & {
  message = std::string(words) + ": " + message;
  return *this;
}

Error&& Error::Context(std::string_view words) && {
  Context(words);
  return std::move(*this);
}

std::unexpected<Error> Fail(ErrorKind kind, std::string message) {
  return std::unexpected(Error{kind, std::move(message)});
}

Error SystemError(std::string_view what, int errno_value) {
  ErrorKind kind = ErrorKind::kInternal;
  switch (errno_value) {
    case ENOENT:
    case ESRCH:
      kind = ErrorKind::kNotFound;
      break;
    case EEXIST:
    case EBUSY:
      kind = ErrorKind::kConflict;
      break;
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
    case ENOSPC:
    case EHOSTUNREACH:
    case ENETUNREACH:
      kind = ErrorKind::kUnavailable;
      break;
    case ETIMEDOUT:
      kind = ErrorKind::kTimeout;
      break;
    default:
      break;
  }
  return {kind, std::string(what) + ": " + std::generic_category().message(errno_value)};
}

Error CurrentError() {
  try {
    throw;
  } catch (const Failure& failure) {
    return failure.error();
  } catch (const std::system_error& error) {
    if (error.code().category() == std::system_category() ||
        error.code().category() == std::generic_category()) {
      return SystemError(error.what(), error.code().value());
    }
    return {ErrorKind::kInternal, error.what()};
  } catch (const std::exception& error) {
    return {ErrorKind::kInternal, error.what()};
  }
}

}  // namespace pinion
