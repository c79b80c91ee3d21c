#pragma once

#include <string_view>

namespace pinion::protocol {

/// The release of Concourse whose API and command line are spoken: clients compare it with their
/// own.
inline constexpr std::string_view kConcourseVersion = "8.2.4";

/// The version of the protocol between server and workers; the same major number fits.
inline constexpr std::string_view kWorkerVersion = "3.0";

}  // namespace pinion::protocol
