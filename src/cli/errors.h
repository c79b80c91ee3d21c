#pragma once

#include <stdexcept>
#include <string>

namespace pinion::cli {

/// Ends the command: the text is printed on the standard error after "error: ", exit status 1.
class CommandError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// As CommandError, printed as it is.
class PlainError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Ends the command with this status; everything was printed.
struct Exit {
  int status = 0;
};

/// The server wants a token, or a better one.
class NotAuthorized : public CommandError {
 public:
  NotAuthorized() : CommandError("not authorized") {}
};

/// The server answered 403.
class Forbidden : public CommandError {
 public:
  explicit Forbidden(std::string why)
      : CommandError(why.empty() ? "forbidden" : "forbidden: " + why), reason(std::move(why)) {}
  std::string reason;
};

/// The server answered 404.
class NotFoundAnswer : public CommandError {
 public:
  using CommandError::CommandError;
};

/// The server answered what nobody expected.
class UnexpectedAnswer : public CommandError {
 public:
  UnexpectedAnswer(int answered, std::string status_text, std::string answer)
      : CommandError("Unexpected Response\nStatus: " + status_text + "\nBody: " + answer),
        status(answered),
        body(std::move(answer)) {}
  int status;
  std::string body;
};

class NoTarget : public CommandError {
 public:
  NoTarget() : CommandError("no target specified") {}
};

/// Client and server are of too different versions; the text is complete.
class VersionDiffers : public CommandError {
 public:
  using CommandError::CommandError;
};

/// No answer from the server; the text says why.
class Unreachable : public CommandError {
 public:
  using CommandError::CommandError;
};

}  // namespace pinion::cli
