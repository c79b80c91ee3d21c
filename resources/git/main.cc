// The git resource: commits and tags of a repository as versions.

#include "git/git.h"

namespace pinion::resource {
namespace {

Json Run(const Request& request) {
  Configure(request);
  if (request.action == "check") return CheckGit(request);
  return request.action == "in" ? InGit(request) : OutGit(request);
}

}  // namespace
}  // namespace pinion::resource

int main(int argc, char** argv) {
  return pinion::resource::Main(argc, argv, pinion::resource::Run);
}
