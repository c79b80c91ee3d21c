#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/context.h"

namespace pinion::cli {

/// What is typed is not shown while it lives, if the input is a terminal.
class HiddenInput {
 public:
  explicit HiddenInput(const Context& context);
  HiddenInput(const HiddenInput&) = delete;
  HiddenInput& operator=(const HiddenInput&) = delete;
  ~HiddenInput();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Asks "PROMPT [yN]: " until the answer is y, yes, n, no or nothing (no). The end of the input is
/// a no.
bool Confirm(Context& context, std::string_view prompt);
/// Asks "PROMPT: "; nothing at the end of the input. Secrets are not shown on a terminal.
std::optional<std::string> AskText(Context& context, std::string_view prompt, bool secret = false);
/// Lets the user choose one of the lines by number; nothing if no choice is made.
std::optional<std::size_t> Choose(Context& context, std::string_view prompt,
                                  const std::vector<std::string>& lines);

}  // namespace pinion::cli
