#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/encoding.h"
#include "base/json_fields.h"
#include "protocol/garden.h"

/// What `fly hijack` sends: upstream's messages, JSON each.
namespace pinion::api::hijack {

struct WindowSize {
  int columns = 0;
  int rows = 0;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("columns", self.columns);
    visit("rows", self.rows);
  }
};

struct Terminal {
  WindowSize window_size;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("window_size", self.window_size);
  }
};

/// The first message.
struct ProcessMessage {
  std::string path;
  std::vector<std::string> args;
  std::vector<std::string> env;
  std::string dir;
  bool privileged = false;
  std::string user;
  std::optional<Terminal> tty;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("path", self.path);
    visit("args", self.args);
    visit("env", self.env);
    visit("dir", self.dir);
    visit("privileged", self.privileged);
    visit("user", self.user);
    visit("tty", self.tty);
  }
};

/// Every further message of the client.
struct InputMessage {
  bool closed = false;
  std::string stdin_bytes;  ///< base64
  std::optional<Terminal> tty;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("closed", self.closed, kOmitEmpty);
    visit("stdin", self.stdin_bytes, kOmitEmpty);
    visit("tty", self.tty, kOmitEmpty);
  }
};

/// The process that is asked for, under an id of its own.
inline protocol::garden::ProcessSpec SpecOf(const ProcessMessage& message) {
  protocol::garden::ProcessSpec spec;
  spec.id = "hijack-" + RandomUuid();
  spec.path = message.path;
  spec.args = message.args;
  spec.env = message.env;
  spec.dir = message.dir;
  spec.user = message.user;
  if (message.tty) {
    spec.tty.emplace();
    spec.tty->window_size = protocol::garden::WindowSize{message.tty->window_size.columns,
                                                         message.tty->window_size.rows};
  }
  return spec;
}

}  // namespace pinion::api::hijack
