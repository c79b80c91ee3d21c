#include "linux/namespaces.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdlib>

#include "linux/files.h"
#include "linux/process.h"

namespace pinion::linux {
namespace {

Result<UniqueFd> OpenNamespace(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return std::unexpected(SystemError("open " + path, errno));
  return fd;
}

/// The namespaces of a helper that waits.
Result<NamespacePair> Take(pid_t pid, std::uint32_t base, std::uint32_t count) {
  const std::string folder = "/proc/" + std::to_string(pid);
  const std::string mapping = "0 " + std::to_string(base) + " " + std::to_string(count);
  for (const char* name : {"/uid_map", "/gid_map"}) {
    if (auto written = WriteKernelFile(folder + name, mapping); !written) {
      return std::unexpected(std::move(written).error());
    }
  }
  auto network = OpenNamespace(folder + "/ns/net");
  if (!network) return std::unexpected(std::move(network).error());
  auto user = OpenNamespace(folder + "/ns/user");
  if (!user) return std::unexpected(std::move(user).error());
  return NamespacePair{.network = std::move(*network), .user = std::move(*user)};
}

}  // namespace

Result<NamespacePair> MakeNetworkNamespace() {
  auto own = OpenNamespace("/proc/thread-self/ns/net");
  if (!own) return std::unexpected(std::move(own).error());
  if (::unshare(CLONE_NEWNET) != 0) {
    return std::unexpected(SystemError("make a network namespace", errno));
  }
  auto made = OpenNamespace("/proc/thread-self/ns/net");
  if (::setns(own->get(), CLONE_NEWNET) != 0) std::abort();  // this thread would act elsewhere
  if (!made) return std::unexpected(std::move(made).error());
  return NamespacePair{.network = std::move(*made), .user = {}};
}

Result<NamespacePair> MakeMappedNamespaces(const std::filesystem::path& helper, std::uint32_t base,
                                           std::uint32_t count) {
  int in[2];
  int out[2];
  if (::pipe2(in, O_CLOEXEC) != 0) return std::unexpected(SystemError("pipe", errno));
  UniqueFd helper_in(in[0]);
  UniqueFd hold(in[1]);
  if (::pipe2(out, O_CLOEXEC) != 0) return std::unexpected(SystemError("pipe", errno));
  const UniqueFd ready(out[0]);
  UniqueFd helper_out(out[1]);
  auto pid = Spawn({.arguments = {helper, "namespaces"},
                    .descriptors = {{helper_in.get(), 0}, {helper_out.get(), 1}}});
  if (!pid) return std::unexpected(std::move(pid).error());
  helper_in.Reset();
  helper_out.Reset();
  char byte = 0;
  ssize_t got;
  while ((got = ::read(ready.get(), &byte, 1)) < 0 && errno == EINTR) {
  }
  Result<NamespacePair> pair =
      got == 1 ? Take(*pid, base, count)
               : Result<NamespacePair>(
                     Fail(ErrorKind::kUnavailable,
                          "user namespaces cannot be made: enable them with: sysctl -w "
                          "user.max_user_namespaces=15000 user.max_net_namespaces=15000"));
  hold.Reset();
  while (::waitpid(*pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  return pair;
}

}  // namespace pinion::linux
