#pragma once

#include <string>
#include <string_view>

#include "base/clock.h"
#include "http/message.h"

/// Internal to the module: heads as text.
namespace pinion::http {

/// True if a list header such as Connection names `token`, without case.
bool HasToken(std::string_view list, std::string_view token);

/// Appends "Name: value" lines. A name or value that would end the line early (a line feed in a
/// redirect's target, say) is Failure(kInternal): it must not become a header of its own.
void AppendFields(std::string& out, const Headers& headers);

/// The line before a chunk of a chunked body.
std::string ChunkSize(std::size_t bytes);

/// The time as the Date header has it: "Tue, 15 Nov 1994 08:12:31 GMT".
std::string HttpDate(WallTime time);

}  // namespace pinion::http
