#pragma once

#include "engine/container.h"
#include "engine/output.h"
#include "engine/steps.h"

namespace pinion::engine {

/// What `in` and `out` print.
struct ResourceResult {
  std::optional<protocol::Version> version;
  protocol::Metadata metadata;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("version", self.version);
    visit("metadata", self.metadata);
  }
};

struct ScriptEnd {
  int exit_status = 0;
  std::string output;  ///< standard output: JSON, if the status is 0
};

/// Runs one of a resource type's scripts (upstream's resource protocol): the request goes in on
/// standard input, standard error is the log, standard output is kept (at most 16 MiB).
Task<ScriptEnd> RunScript(LeafContext context, Container container, std::string path,
                          std::vector<std::string> args, Json request,
                          const Interruption& interruption);

/// The output of a script as JSON of that shape; the error says what was printed instead.
Result<ResourceResult> ParseResourceResult(std::string_view path, std::string_view output);
Result<std::vector<protocol::Version>> ParseVersions(std::string_view output);

/// The image of a resource's container by its plan: a base type of the worker, or fetched. Returns
/// which content was fetched (Artifact::content): another one is another version of the custom
/// type; "" for base types.
Task<std::string> SetImage(LeafContext context, const protocol::TypeImage& image,
                           ContainerRequest& request);

}  // namespace pinion::engine
