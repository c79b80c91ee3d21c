#pragma once

#include <string>
#include <string_view>

#include "base/options.h"

/// Options that many commands share.
namespace pinion::cli {

inline void AddTeam(Options& options, std::string& team) {
  options.Add({.name = "team", .doc = "Act on this team instead of the target's"}, team);
}

inline void AddJob(Options& options, std::string& job, std::string_view doc = "The job",
                   bool required = false) {
  options.Add({.name = "job",
               .doc = doc,
               .short_name = 'j',
               .value_name = "PIPELINE/JOB",
               .required = required},
              job);
}

inline void AddJson(Options& options, bool& json) {
  options.Add({.name = "json", .doc = "Print JSON"}, json);
}

inline void AddPipeline(Options& options, std::string& pipeline) {
  options.Add({.name = "pipeline",
               .doc = "The pipeline: NAME, or NAME/KEY:VALUE,... for an instance",
               .short_name = 'p',
               .required = true},
              pipeline);
}

inline void AddResource(Options& options, std::string& resource) {
  options.Add({.name = "resource",
               .doc = "The resource",
               .short_name = 'r',
               .value_name = "PIPELINE/RESOURCE",
               .required = true},
              resource);
}

inline void AddNonInteractive(Options& options, bool& non_interactive, char letter = 'n') {
  options.Add({.name = "non-interactive", .doc = "Do not ask", .short_name = letter},
              non_interactive);
}

}  // namespace pinion::cli
