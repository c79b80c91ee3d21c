#include "pipeline/planner.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace pinion::pipeline {
namespace {

using protocol::Plan;
using protocol::ResourceType;
using protocol::TypeImage;

constexpr std::size_t kMostPlans = 20'000;
constexpr std::size_t kDeepestPlan = 200;

/// Custom types that are made of custom types. Every level doubles the plans (a check and a get).
constexpr std::size_t kMostNestedTypes = 8;

template <class Item>
const Item* FindByName(const std::vector<Item>& items, const std::string& name) {
  const auto found = std::ranges::find(items, name, &Item::name);
  return found == items.end() ? nullptr : &*found;
}

/// Go leaves empty maps out.
Json NullIfEmpty(const Json& json) {
  return json.IsObject() && json.AsObject().empty() ? Json() : json;
}

/// How many plans an image takes: a check and a get for each of its types.
std::size_t PlansIn(const TypeImage& image) {
  std::size_t plans = 0;
  if (image.check_plan) plans += 1 + PlansIn(image.check_plan->check->image);
  if (image.get_plan) plans += 1 + PlansIn(image.get_plan->get->image);
  return plans;
}

/// Gives up planning; caught in MakePlan.
[[noreturn]] void Refuse(ErrorKind kind, std::string message) {
  throw Failure(kind, std::move(message));
}

class Planner {
 public:
  explicit Planner(const PlanInput& input)
      : input_(input),
        types_(WithDefaults(input.resource_types, input.base_defaults)),
        tags_(input.job.tags) {}

  Plan PlanJob() {
    const Job& job = input_.job;
    Plan plan = PlanList(job.plan);
    plan = WithHooks(std::move(plan), job.on_success, job.on_failure, job.on_abort, job.on_error,
                     job.ensure);
    return plan;
  }

 private:
  /// Counts how deep the plan is while something inside it is planned.
  class Level {
   public:
    explicit Level(std::size_t& depth) : depth_(depth) {
      if (++depth_ > kDeepestPlan) {
        --depth_;
        Refuse(ErrorKind::kTooLarge,
               "the plan is nested more than " + std::to_string(kDeepestPlan) + " levels deep");
      }
    }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;
    ~Level() { --depth_; }

   private:
    std::size_t& depth_;
  };

  void Count(std::size_t plans) {
    plans_ += plans;
    if (plans_ > kMostPlans) {
      Refuse(ErrorKind::kTooLarge, "the plan has more than " + std::to_string(kMostPlans) +
                                       " steps, attempts and images counted");
    }
  }

  Plan New() {
    Count(1);
    Plan plan;
    plan.id = ids_.Next();
    return plan;
  }

  const Tags& TagsFor(const Tags& own) const { return own.empty() ? tags_ : own; }

  /// A step with all its modifiers. The inner parts are planned first, so that ids grow outwards.
  Plan PlanStep(const Step& step) {
    // A step nests as many plans as it has modifiers.
    Level level(depth_);
    std::size_t modifiers = 0;
    for (const bool has :
         {step.timeout.has_value(), step.attempts.has_value(), step.across.has_value(),
          step.on_success.has_value(), step.on_failure.has_value(), step.on_abort.has_value(),
          step.on_error.has_value(), step.ensure.has_value()}) {
      modifiers += has ? 1 : 0;
    }
    depth_ += modifiers;
    Plan plan = PlanAcross(step);
    plan = WithHooks(std::move(plan), step.on_success, step.on_failure, step.on_abort,
                     step.on_error, step.ensure);
    depth_ -= modifiers;
    return plan;
  }

  Plan WithHooks(Plan plan, const Box<Step>& on_success, const Box<Step>& on_failure,
                 const Box<Step>& on_abort, const Box<Step>& on_error, const Box<Step>& ensure) {
    plan = WithHook(std::move(plan), on_success, &Plan::on_success);
    plan = WithHook(std::move(plan), on_failure, &Plan::on_failure);
    plan = WithHook(std::move(plan), on_abort, &Plan::on_abort);
    plan = WithHook(std::move(plan), on_error, &Plan::on_error);
    return WithHook(std::move(plan), ensure, &Plan::ensure);
  }

  template <class Member>
  Plan WithHook(Plan inner, const Box<Step>& hook, Member member) {
    if (!hook) return inner;
    Plan next = PlanStep(*hook);
    Plan plan = New();
    auto& body = (plan.*member).emplace();
    body.step = std::move(inner);
    body.next = std::move(next);
    return plan;
  }

  Plan PlanAcross(const Step& step) {
    if (!step.across) return PlanRetry(step);
    const Plan inner = PlanRetry(step);
    Plan plan = New();
    auto& across = plan.across.emplace();
    for (const AcrossVar& var : step.across->vars) {
      across.vars.push_back({var.var, var.values, var.max_in_flight});
    }
    across.substep_template = PlanText(inner);
    across.fail_fast = step.across->fail_fast;
    return plan;
  }

  Plan PlanRetry(const Step& step) {
    if (!step.attempts) return PlanTimeout(step);
    std::vector<Plan> tries;
    for (int i = 0; i < *step.attempts; ++i)
      tries.push_back(PlanTimeout(step));
    Plan plan = New();
    plan.retry = std::move(tries);
    return plan;
  }

  Plan PlanTimeout(const Step& step) {
    Plan core = std::visit([this](const auto& it) { return PlanCore(it); }, step.core);
    if (!step.timeout) return core;
    Plan plan = New();
    auto& timeout = plan.timeout.emplace();
    timeout.step = std::move(core);
    timeout.duration = *step.timeout;
    return plan;
  }

  /// The resource, its source completed by its type's defaults.
  Resource FindResource(const std::string& name) const {
    const Resource* found = FindByName(input_.resources, name);
    if (!found) Refuse(ErrorKind::kInvalid, "unknown resource: " + name);
    Resource resource = *found;
    resource.source =
        SourceWithDefaults(resource.type, resource.source, types_, input_.base_defaults);
    return resource;
  }

  TypeImage Image(const std::string& plan_id, const std::string& type, const Tags& tags,
                  bool skip_interval) {
    TypeImage image = ImageForType(plan_id, type, tags, skip_interval, types_);
    Count(PlansIn(image));
    return image;
  }

  Plan PlanCore(const GetStep& step) {
    const Resource resource = FindResource(step.ResourceName());
    const auto version = input_.versions.find(step.name);
    if (version == input_.versions.end()) {
      Refuse(ErrorKind::kInvalid, "no version was chosen for the get step " + step.name);
    }
    const Tags& tags = TagsFor(step.tags);
    Plan plan = New();
    plan.get = protocol::GetPlan{.name = step.name,
                                 .type = resource.type,
                                 .source = resource.source,
                                 .image = Image(plan.id, resource.type, tags, false),
                                 .version = version->second,
                                 .params = NullIfEmpty(step.params),
                                 .resource = step.ResourceName(),
                                 .tags = tags,
                                 .timeout = step.timeout};
    return plan;
  }

  Plan PlanCore(const PutStep& step) {
    const Resource resource = FindResource(step.ResourceName());
    const Tags& tags = TagsFor(step.tags);
    Plan put = New();
    put.put =
        protocol::PutPlan{.name = step.name,
                          .type = resource.type,
                          .source = resource.source,
                          .image = Image(put.id, resource.type, tags, input_.manually_triggered),
                          .params = NullIfEmpty(step.params),
                          .inputs = step.inputs,
                          .resource = step.ResourceName(),
                          .tags = tags,
                          .timeout = step.timeout,
                          .expose_build_created_by = resource.expose_build_created_by};
    if (step.no_get) return put;
    Plan get = New();
    get.get =
        protocol::GetPlan{.name = step.name,
                          .type = resource.type,
                          .source = resource.source,
                          .image = Image(get.id, resource.type, tags, input_.manually_triggered),
                          .version_from = put.id,
                          .params = NullIfEmpty(step.get_params),
                          .resource = step.ResourceName(),
                          .tags = tags,
                          .timeout = step.timeout};
    Plan plan = New();
    auto& both = plan.on_success.emplace();
    both.step = std::move(put);
    both.next = std::move(get);
    return plan;
  }

  Plan PlanCore(const TaskStep& step) {
    Plan plan = New();
    plan.task = protocol::TaskPlan{.name = step.name,
                                   .privileged = step.privileged,
                                   .hermetic = step.hermetic,
                                   .tags = TagsFor(step.tags),
                                   .config_path = step.file,
                                   .config = step.config,
                                   .container_limits = step.container_limits,
                                   .image = step.image,
                                   .vars = NullIfEmpty(step.vars),
                                   .params = step.params,
                                   .input_mapping = step.input_mapping,
                                   .output_mapping = step.output_mapping,
                                   .timeout = step.timeout,
                                   .resource_types = types_,
                                   .check_skip_interval = input_.manually_triggered};
    return plan;
  }

  Plan PlanCore(const RunStep& step) {
    const Prototype* prototype = FindByName(input_.prototypes, step.type);
    if (!prototype) Refuse(ErrorKind::kInvalid, "unknown prototype: " + step.type);
    Plan plan = New();
    plan.run =
        protocol::RunPlan{.message = step.message,
                          .type = step.type,
                          .object = NullIfEmpty(MergeObjects(prototype->defaults, step.params)),
                          .privileged = step.privileged,
                          .tags = TagsFor(step.tags),
                          .container_limits = step.container_limits,
                          .timeout = step.timeout};
    return plan;
  }

  Plan PlanCore(const SetPipelineStep& step) {
    Plan plan = New();
    plan.set_pipeline = protocol::SetPipelinePlan{.name = step.name,
                                                  .file = step.file,
                                                  .team = step.team,
                                                  .vars = NullIfEmpty(step.vars),
                                                  .var_files = step.var_files,
                                                  .instance_vars = NullIfEmpty(step.instance_vars)};
    return plan;
  }

  Plan PlanCore(const LoadVarStep& step) {
    Plan plan = New();
    plan.load_var = protocol::LoadVarPlan{
        .name = step.name, .file = step.file, .format = step.format, .reveal = step.reveal};
    return plan;
  }

  Plan PlanCore(const TryStep& step) {
    if (!step.step) Refuse(ErrorKind::kInvalid, "a try step without a step");
    Plan inner = PlanStep(*step.step);
    Plan plan = New();
    plan.try_step.emplace().step = std::move(inner);
    return plan;
  }

  Plan PlanCore(const DoStep& step) {
    const Tags outer = tags_;
    if (!step.tags.empty()) tags_ = step.tags;
    Plan plan = PlanList(step.steps);
    tags_ = outer;
    return plan;
  }

  Plan PlanCore(const InParallelStep& step) {
    const Tags outer = tags_;
    if (!step.tags.empty()) tags_ = step.tags;
    std::vector<Plan> steps;
    for (const Step& inner : step.steps)
      steps.push_back(PlanStep(inner));
    Plan plan = New();
    plan.in_parallel = protocol::InParallelPlan{std::move(steps), step.limit, step.fail_fast};
    tags_ = outer;
    return plan;
  }

  Plan PlanList(const std::vector<Step>& steps) {
    std::vector<Plan> plans;
    for (const Step& step : steps)
      plans.push_back(PlanStep(step));
    Plan plan = New();
    plan.do_steps = std::move(plans);
    return plan;
  }

  const PlanInput& input_;
  const std::vector<ResourceType> types_;
  Tags tags_;  // of the do, in_parallel or job around the current step
  PlanIds ids_;
  std::size_t plans_ = 0;
  std::size_t depth_ = 1;
};

TypeImage NestedImage(const std::string& plan_id, const std::string& type, const Tags& tags,
                      bool skip_interval, const std::vector<ResourceType>& types,
                      std::size_t level);

std::vector<ResourceType> Without(const std::vector<ResourceType>& types, const std::string& name) {
  std::vector<ResourceType> others;
  for (const ResourceType& type : types) {
    if (type.name != name) others.push_back(type);
  }
  return others;
}

ImagePlans NestedPlans(const std::string& plan_id, const protocol::ImageResource& image,
                       const std::vector<ResourceType>& types, const Tags& tags, bool skip_interval,
                       const std::string& check_every, std::size_t level) {
  const Tags& own = image.tags.empty() ? tags : image.tags;
  ImagePlans plans;
  plans.get.id = plan_id + "/image-get";
  plans.get.get = protocol::GetPlan{
      .name = image.name,
      .type = image.type,
      .source = image.source,
      .image = NestedImage(plans.get.id, image.type, own, skip_interval, types, level),
      .params = NullIfEmpty(image.params),
      .tags = own};
  if (image.version) {
    plans.get.get->version = image.version;
    return plans;
  }
  Plan check;
  check.id = plan_id + "/image-check";
  check.check = protocol::CheckPlan{
      .name = image.name,
      .type = image.type,
      .source = image.source,
      .image = NestedImage(check.id, image.type, own, skip_interval, types, level),
      .interval = check_every.empty() ? std::string(kDefaultCheckInterval) : check_every,
      .skip_interval = skip_interval,
      .tags = own};
  plans.get.get->version_from = check.id;
  plans.check = std::move(check);
  return plans;
}

TypeImage NestedImage(const std::string& plan_id, const std::string& type, const Tags& tags,
                      bool skip_interval, const std::vector<ResourceType>& types,
                      std::size_t level) {
  const ResourceType* parent = FindByName(types, type);
  if (!parent) return {.base_type = type};
  if (level == kMostNestedTypes) {
    throw Failure(ErrorKind::kTooLarge, "resource type " + type + " is made of more than " +
                                            std::to_string(kMostNestedTypes) +
                                            " custom types, one in the other");
  }
  const protocol::ImageResource image{.name = parent->name,
                                      .type = parent->type,
                                      .source = parent->source,
                                      .params = parent->params,
                                      .tags = parent->tags};
  // A type may be made of a base type of its own name, so it is not known below itself.
  ImagePlans plans = NestedPlans(plan_id, image, Without(types, type), tags, skip_interval,
                                 parent->check_every, level + 1);
  plans.check->check->resource_type = type;
  TypeImage result;
  result.base_type = plans.get.get->image.base_type;
  result.privileged = parent->privileged;
  result.check_plan = std::move(plans.check);
  result.get_plan = std::move(plans.get);
  return result;
}

}  // namespace

std::string PlanIds::Next() {
  char text[20];
  const auto end = std::to_chars(text, text + sizeof(text), ++last_, 16);
  return {text, end.ptr};
}

Result<Plan> MakePlan(const PlanInput& input) {
  try {
    return Planner(input).PlanJob();
  } catch (const Failure& reason) {
    Error error = reason.error();
    return std::unexpected(std::move(error).Context("planning a build of job " + input.job.name));
  }
}

TypeImage ImageForType(const std::string& plan_id, const std::string& type, const Tags& tags,
                       bool skip_interval, const std::vector<ResourceType>& types) {
  return NestedImage(plan_id, type, tags, skip_interval, types, 0);
}

ImagePlans FetchImagePlans(const std::string& plan_id, const protocol::ImageResource& image,
                           const std::vector<ResourceType>& types, const Tags& tags,
                           bool skip_interval, const std::string& check_every) {
  return NestedPlans(plan_id, image, types, tags, skip_interval, check_every, 0);
}

Json MergeObjects(const Json& under, const Json& over) {
  if (!under.IsObject() || (under.AsObject().empty() && over.IsNull())) {
    return under.IsObject() && over.IsNull() ? Json() : over;
  }
  JsonObject merged = under.AsObject();
  if (over.IsObject()) {
    for (const auto& [name, value] : over.AsObject())
      merged.Set(name, value);
  }
  merged.SortByName();
  return merged;
}

Json SourceWithDefaults(const std::string& type, const Json& source,
                        const std::vector<ResourceType>& types, const BaseDefaults& base_defaults) {
  if (const ResourceType* parent = FindByName(types, type)) {
    return MergeObjects(parent->defaults, source);
  }
  const auto found = base_defaults.find(type);
  return found == base_defaults.end() ? source : MergeObjects(found->second, source);
}

std::vector<ResourceType> WithDefaults(std::vector<ResourceType> types,
                                       const BaseDefaults& base_defaults) {
  const std::vector<ResourceType> originals = types;
  for (ResourceType& type : types) {
    // The parent of a type is another one, even if it has the same name.
    type.source =
        SourceWithDefaults(type.type, type.source, Without(originals, type.name), base_defaults);
  }
  return types;
}

}  // namespace pinion::pipeline
