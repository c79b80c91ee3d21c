#include "worker/containers/process_spec.h"

#include <algorithm>

#include "worker/supervisor/protocol.h"

namespace pinion::worker {
namespace {

void Append(std::string& out, std::string_view text) {
  out.append(text);
  out.push_back('\0');
}

bool HasVariable(const std::vector<std::string>& environment, std::string_view name) {
  return std::ranges::any_of(environment, [&](const std::string& line) {
    return line.size() > name.size() && line[name.size()] == '=' && line.starts_with(name);
  });
}

/// The last value of a variable wins, as shells have it.
void SetVariable(std::vector<std::string>& environment, const std::string& line) {
  const std::string name = line.substr(0, line.find('='));
  std::erase_if(environment, [&](const std::string& old) {
    return old.size() > name.size() && old[name.size()] == '=' && old.starts_with(name);
  });
  environment.push_back(line);
}

std::vector<std::string> Environment(const protocol::garden::ContainerSpec& container,
                                     const protocol::garden::ProcessSpec& process,
                                     const ContainerUser& user) {
  std::vector<std::string> environment;
  for (const auto* list : {&container.env, &process.env}) {
    for (const std::string& line : *list) {
      if (line.find('=') != std::string::npos) SetVariable(environment, line);
    }
  }
  if (!process.user.empty()) SetVariable(environment, "USER=" + process.user);
  if (!HasVariable(environment, "HOME")) environment.push_back("HOME=" + user.home);
  if (!HasVariable(environment, "PATH")) {
    environment.push_back(user.uid == 0
                              ? "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
                              : "PATH=/usr/local/bin:/usr/bin:/bin");
  }
  return environment;
}

}  // namespace

Result<InitSpec> MakeInitSpec(const protocol::garden::ContainerSpec& container,
                              const protocol::garden::ProcessSpec& process,
                              const std::filesystem::path& rootfs) {
  if (process.path.empty()) return Fail(ErrorKind::kInvalid, "process without a path");
  if (!process.dir.empty() && !process.dir.starts_with('/')) {
    return Fail(ErrorKind::kInvalid, "dir \"" + process.dir + "\" must be an absolute path");
  }
  auto user = FindUser(rootfs, process.user);
  if (!user) return std::unexpected(std::move(user).error());

  const std::vector<std::string> environment = Environment(container, process, *user);
  std::vector<std::string> texts{std::to_string(user->uid), std::to_string(user->gid),
                                 std::to_string(user->groups.size())};
  for (const std::uint32_t group : user->groups)
    texts.push_back(std::to_string(group));
  const auto window = process.tty ? process.tty->window_size : std::nullopt;
  texts.push_back(std::to_string(window ? std::clamp(window->columns, 0, 65535) : 0));
  texts.push_back(std::to_string(window ? std::clamp(window->rows, 0, 65535) : 0));
  texts.push_back(process.tty && process.tty->verbatim ? "1" : "0");
  texts.push_back(process.dir.empty() ? "/" : process.dir);
  texts.push_back(std::to_string(process.args.size() + 1));
  texts.push_back(process.path);
  texts.insert(texts.end(), process.args.begin(), process.args.end());
  texts.insert(texts.end(), environment.begin(), environment.end());

  InitSpec spec{.text = {}, .user = std::move(*user)};
  for (const std::string& text : texts) {
    if (text.find('\0') != std::string::npos) {
      return Fail(ErrorKind::kInvalid, "arguments and environment must not hold NUL bytes");
    }
    Append(spec.text, text);
  }
  if (spec.text.size() > kPinionSpecBytesMax) {
    return Fail(ErrorKind::kTooLarge, "arguments and environment of the process are larger than " +
                                          std::to_string(kPinionSpecBytesMax) + " bytes");
  }
  return spec;
}

}  // namespace pinion::worker
