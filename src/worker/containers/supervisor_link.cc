#include "worker/containers/supervisor_link.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

namespace pinion::worker {

Result<linux::UniqueFd> SupervisorLink::Connect(const std::filesystem::path& folder) {
  // Socket addresses are short, folders are not: the way leads over a descriptor of the folder.
  const linux::UniqueFd directory(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return std::unexpected(SystemError("open " + folder.string(), errno));
  const std::string path = "/proc/self/fd/" + std::to_string(directory.get()) + "/control";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  linux::UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket ||
      ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return std::unexpected(SystemError("connect to the supervisor in " + folder.string(), errno));
  }
  return socket;
}

Result<void> SupervisorLink::SendWithFd(int socket, const PinionMessage& message, int descriptor) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  iovec part{const_cast<PinionMessage*>(&message), sizeof message};
  msghdr packet{};
  packet.msg_iov = &part;
  packet.msg_iovlen = 1;
  packet.msg_control = control;
  packet.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&packet);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
  if (::sendmsg(socket, &packet, MSG_NOSIGNAL) < 0) {
    return std::unexpected(SystemError("hand a container to its supervisor", errno));
  }
  return {};
}

Task<std::optional<SupervisorMessage>> SupervisorLink::Receive(std::stop_token stop) {
  while (true) {
    co_await socket_.Readable(stop);
    SupervisorMessage received;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 4)];
    iovec part{&received.message, sizeof received.message};
    msghdr packet{};
    packet.msg_iov = &part;
    packet.msg_iovlen = 1;
    packet.msg_control = control;
    packet.msg_controllen = sizeof control;
    const ssize_t size = ::recvmsg(socket_.get(), &packet, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (size <= 0) co_return std::nullopt;
    for (cmsghdr* header = CMSG_FIRSTHDR(&packet); header; header = CMSG_NXTHDR(&packet, header)) {
      if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
      received.descriptor.Reset(fd);
    }
    if (static_cast<std::size_t>(size) != sizeof received.message) continue;
    received.message.text[kPinionTextBytes - 1] = '\0';
    co_return received;
  }
}

int SupervisorLink::SendNow(const PinionMessage& message) {
  while (true) {
    const ssize_t sent =
        ::send(socket_.get(), &message, sizeof message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) return 1;
    if (errno == EINTR) continue;
    return errno == EAGAIN || errno == ENOBUFS ? 0 : -1;
  }
}

Task<bool> SupervisorLink::Send(PinionMessage message, std::stop_token stop) {
  while (true) {
    const int sent = SendNow(message);
    if (sent != 0) co_return sent > 0;
    co_await socket_.Writable(stop);
  }
}

void SupervisorLink::TrySend(const PinionMessage& message) {
  SendNow(message);
}

}  // namespace pinion::worker
