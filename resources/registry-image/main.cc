// The registry-image resource: images of a registry, by tag, pattern or version.

#include <csignal>

#include "registry-image/source.h"

namespace pinion::resource {
namespace {

Json Run(const Request& request) {
  if (request.action == "check") return CheckImage(request);
  return request.action == "in" ? InImage(request) : OutImage(request);
}

}  // namespace
}  // namespace pinion::resource

int main(int argc, char** argv) {
  // A pipe or connection whose reader went away is an error like others.
  std::signal(SIGPIPE, SIG_IGN);
  return pinion::resource::Main(argc, argv, pinion::resource::Run);
}
