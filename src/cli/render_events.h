#pragma once

#include <cstdint>
#include <ostream>
#include <string>

#include "cli/target.h"

namespace pinion::cli {

struct RenderOptions {
  bool timestamps = false;      ///< local time before every line
  bool ignore_unknown = false;  ///< skip events that this client does not know
};

/// Turns a build's events into text. The exit status of a watch is that of the last task that
/// finished, else 1 for failed, 2 for errored, 3 for aborted builds.
class EventRenderer {
 public:
  EventRenderer(std::ostream& out, bool colours, RenderOptions options)
      : out_(out), colours_(colours), options_(options) {}

  /// One event's envelope (event, version, data). True when it was the last one.
  bool Render(const std::string& envelope);
  /// The stream cannot be understood: says why, the status is 255.
  void Broken(const std::string& why);
  int exit_status() const { return exit_status_; }

 private:
  bool RenderStatus(const Json& data);
  /// `time` in unix seconds, 0 for none.
  void Write(std::int64_t time, std::string_view text);

  std::ostream& out_;
  bool colours_;
  RenderOptions options_;
  bool line_start_ = true;
  int exit_status_ = 0;
};

/// Streams the build's events to the output until it ends; connects again when the connection
/// breaks. Returns the exit status for the process; throws Cancelled on stop.
int WatchBuild(Context& context, Target& target, std::int64_t build, RenderOptions options = {},
               std::stop_token stop = {});

}  // namespace pinion::cli
