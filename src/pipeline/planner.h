#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "pipeline/model.h"
#include "protocol/plan.h"

/// From a job and the versions chosen for it to the plan of a build.
namespace pinion::pipeline {

/// Sources that a base resource type starts from, by type; set by the operator.
using BaseDefaults = std::map<std::string, Json>;

struct PlanInput {
  Job job;
  std::vector<Resource> resources;
  std::vector<protocol::ResourceType> resource_types;
  std::vector<Prototype> prototypes;
  std::map<std::string, protocol::Version> versions;  ///< by name of the get step
  bool manually_triggered = false;  ///< image checks do not wait for their interval
  BaseDefaults base_defaults;
};

/// The plan, its ids counted from 1. kInvalid if the job gets an unknown resource, runs an unknown
/// prototype, or has a get whose version was not chosen. kTooLarge past 20,000 steps (attempts
/// multiply them, image checks and gets count) or 200 levels.
Result<protocol::Plan> MakePlan(const PlanInput& input);

/// Hands out plan ids: hexadecimal numbers.
class PlanIds {
 public:
  explicit PlanIds(std::int64_t last = 0) : last_(last) {}
  std::string Next();

 private:
  std::int64_t last_;
};

/// How image checks are made when a type does not say.
inline constexpr std::string_view kDefaultCheckInterval = "1m0s";

/// Where the image of a resource type comes from, custom types nested. `plan_id` is the plan that
/// needs it; `tags` go to the image's plans unless the type has its own. Throws a Failure
/// (kTooLarge) for more than 8 custom types made of each other.
protocol::TypeImage ImageForType(const std::string& plan_id, const std::string& type,
                                 const Tags& tags, bool skip_interval,
                                 const std::vector<protocol::ResourceType>& types);

/// The get of an image and, unless its version is known, the check before it.
struct ImagePlans {
  protocol::Plan get;
  Box<protocol::Plan> check;
};
ImagePlans FetchImagePlans(const std::string& plan_id, const protocol::ImageResource& image,
                           const std::vector<protocol::ResourceType>& types, const Tags& tags,
                           bool skip_interval, const std::string& check_every = {});

/// `source` on top of what its type starts from: the defaults of a custom type, or of a base type.
Json SourceWithDefaults(const std::string& type, const Json& source,
                        const std::vector<protocol::ResourceType>& types,
                        const BaseDefaults& base_defaults);

/// Resource types with the defaults of their own types merged in, as plans need them.
std::vector<protocol::ResourceType> WithDefaults(std::vector<protocol::ResourceType> types,
                                                 const BaseDefaults& base_defaults);

/// Members of `over` on top of those of `under`; null counts as empty, two nulls stay null.
Json MergeObjects(const Json& under, const Json& over);

}  // namespace pinion::pipeline
