#include "cli/prompt.h"

#include <termios.h>

#include <charconv>
#include <ostream>

#include "base/text.h"

namespace pinion::cli {

struct HiddenInput::Impl {
  int fd = -1;
  termios before{};
};

HiddenInput::HiddenInput(const Context& context) {
  termios before{};
  if (!context.in_is_terminal || ::tcgetattr(context.in, &before) != 0) return;
  termios quiet = before;
  quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  if (::tcsetattr(context.in, TCSAFLUSH, &quiet) == 0) {
    impl_ = std::make_unique<Impl>(Impl{context.in, before});
  }
}

HiddenInput::~HiddenInput() {
  if (impl_) ::tcsetattr(impl_->fd, TCSAFLUSH, &impl_->before);
}

bool Confirm(Context& context, std::string_view prompt) {
  for (;;) {
    context.out << prompt << " [yN]: " << std::flush;
    const auto line = context.ReadLine();
    if (!context.in_is_terminal) context.out << '\n';
    if (!line) return false;
    const std::string answer = ToLower(Trim(*line));
    if (answer == "y" || answer == "yes") return true;
    if (answer.empty() || answer == "n" || answer == "no") return false;
    context.out << "Unknown input. Please enter y/yes/n/no.\n";
  }
}

std::optional<std::string> AskText(Context& context, std::string_view prompt, bool secret) {
  context.out << prompt << ": " << std::flush;
  std::optional<std::string> line;
  if (secret && context.in_is_terminal) {
    const HiddenInput hidden(context);
    line = context.ReadLine();
    context.out << '\n';
  } else {
    line = context.ReadLine();
    if (!context.in_is_terminal) context.out << '\n';
  }
  if (line && line->ends_with('\r')) line->pop_back();
  return line;
}

std::optional<std::size_t> Choose(Context& context, std::string_view prompt,
                                  const std::vector<std::string>& lines) {
  for (std::size_t i = 0; i < lines.size(); ++i)
    context.out << i + 1 << ": " << lines[i] << '\n';
  for (;;) {
    const auto answer = AskText(context, prompt);
    if (!answer || Trim(*answer).empty()) return std::nullopt;
    const std::string_view text = Trim(*answer);
    std::size_t number = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
    if (parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() && number >= 1 &&
        number <= lines.size()) {
      return number - 1;
    }
    context.out << "please enter a number from 1 to " << lines.size()
                << ", or nothing to give up\n";
  }
}

}  // namespace pinion::cli
