#pragma once

#include "base/error.h"
#include "http/message.h"

namespace pinion::api {

/// The HTTP status of a kind of error: the one place that maps them.
int StatusOf(ErrorKind kind);

/// The answer to a failed request. Internal failures keep their text out of it: that is in the log
/// under the request's id.
http::Response ErrorAnswer(const Error& error, std::string_view request_id);

}  // namespace pinion::api
