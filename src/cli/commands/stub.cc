#include "cli/commands/commands.h"
#include "cli/errors.h"
namespace pinion::cli {
int Execute(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
int Hijack(Context&, const Command&, const Words&) {
  throw CommandError("not there yet");
}
}  // namespace pinion::cli
