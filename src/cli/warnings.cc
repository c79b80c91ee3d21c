#include "cli/warnings.h"

#include <ostream>

namespace pinion::cli {

std::vector<ConfigWarning> WarningsOf(const Json& answer) {
  std::vector<ConfigWarning> warnings;
  const Json* list = answer.Find("warnings");
  if (!list || !list->IsArray()) return warnings;
  for (const Json& warning : list->AsArray()) {
    warnings.push_back(
        {std::string(warning.StringAt("type")), std::string(warning.StringAt("message"))});
  }
  return warnings;
}

void ShowWarnings(Context& context, const std::vector<ConfigWarning>& warnings) {
  if (warnings.empty()) return;
  const bool colours = context.colours && context.err_is_terminal;
  context.err << '\n' << Paint(style::kErrored, "DEPRECATION WARNING:", colours) << '\n';
  bool identifiers = false;
  for (const ConfigWarning& warning : warnings) {
    context.err << "  - " << warning.message << '\n';
    identifiers = identifiers || warning.type == "invalid_identifier";
  }
  context.err << '\n';
  if (identifiers) {
    context.err << "identifier schema documentation: "
                   "https://concourse-ci.org/config-basics.html#schema.identifier\n\n";
  }
}

void ShowErrors(Context& context, std::string_view header, const std::vector<std::string>& errors) {
  const bool colours = context.colours && context.err_is_terminal;
  context.err << '\n' << Paint(style::kAlarm, "WARNING:", colours) << '\n' << header << ":\n";
  for (const std::string& error : errors)
    context.err << "  - " << error << '\n';
  context.err << '\n';
}

}  // namespace pinion::cli
