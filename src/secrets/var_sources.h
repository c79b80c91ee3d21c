#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "async/task.h"
#include "base/ids.h"
#include "secrets/id_tokens.h"
#include "vars/variables.h"

namespace pinion::pipeline {
struct VarSource;
}

namespace pinion::secrets {

/// The ((source:var))s of pipelines: what their `var_sources` say. Of the kinds of var sources,
/// dummy and idtoken are there. On one loop's thread.
class VarSources {
 public:
  VarSources(store::Database& database, IdTokens& tokens) : database_(database), tokens_(tokens) {}

  /// The values of those references that name a source of the pipeline; others are left out, and so
  /// are vars that their source does not have. A Failure says why a source cannot be asked.
  Task<vars::ResolvedVariables> Resolve(VarOwner owner, PipelineId pipeline,
                                        std::vector<vars::Reference> references,
                                        std::stop_token stop);

 private:
  struct Asked;
  Task<void> Ask(Asked& asked, vars::Reference reference, std::size_t depth);

  store::Database& database_;
  IdTokens& tokens_;
};

}  // namespace pinion::secrets
