#pragma once

#include <expected>
#include <stdexcept>
#include <string>
#include <string_view>

namespace pinion {

/// What went wrong, as far as a caller can act on it. The HTTP status of a kind is chosen in one
/// place, api/errors.cc.
enum class ErrorKind {
  kInvalid,       ///< the caller's input is wrong: changing it helps, trying again does not
  kUnauthorized,  ///< nobody is logged in, or the token is no longer good
  kForbidden,     ///< somebody is logged in who may not do this
  kNotFound,
  kConflict,     ///< the state of the thing does not allow this
  kTooLarge,     ///< a limit on size, depth or count was passed
  kTimeout,      ///< a deadline passed
  kUnavailable,  ///< another system cannot be reached now: trying again may help
  kInternal,     ///< a fault of this program
};

std::string_view Name(ErrorKind kind);

/// A failure as a value. `message` is for the user and holds no secret; each layer that knows more
/// puts its own words before it with Context(), so that it reads "loading X: opening Y: reason".
struct Error {
  ErrorKind kind = ErrorKind::kInternal;
  std::string message;

  Error&& Context(std::string_view words) &&;
  Error& Context(std::string_view words) &;
  friend bool operator==(const Error&, const Error&) = default;
};

/// The outcome of what may fail in a way that the caller can act on.
template <class T>
using Result = std::expected<T, Error>;

/// Shorthand for the failing branch: `return Fail(ErrorKind::kNotFound, "no such job")`.
std::unexpected<Error> Fail(ErrorKind kind, std::string message);

/// An error on its way up to the nearest boundary that answers for it (a request, a step, a
/// command).
class Failure : public std::runtime_error {
 public:
  explicit Failure(Error error) : std::runtime_error(error.message), error_(std::move(error)) {}
  Failure(ErrorKind kind, std::string message) : Failure(Error{kind, std::move(message)}) {}
  const Error& error() const { return error_; }

 private:
  Error error_;
};

/// The wait was given up because its owner asked for it. It is no std::runtime_error and no
/// Failure, so that handling failures never swallows a stop.
class Cancelled : public std::exception {
 public:
  const char* what() const noexcept override { return "cancelled"; }
};

/// The value, or its error as a Failure: for callers that cannot act on it.
template <class T>
T ValueOrThrow(Result<T>&& result) {
  if (!result) throw Failure(std::move(result).error());
  if constexpr (!std::is_void_v<T>) return std::move(result).value();
}

/// An Error that names the system call's reason: "open /x: No such file or directory".
Error SystemError(std::string_view what, int errno_value);

/// The current exception as an Error, for boundaries. Call it inside a catch block only.
Error CurrentError();

}  // namespace pinion
