#include "protocol/plan.h"

#include <utility>

namespace pinion::protocol {
namespace {

/// Deeper than any plan that the planner makes: it nests at most 200 plans, two JSON levels each.
constexpr JsonLimits kPlanLimits{.bytes = 64 << 20, .depth = 640};

JsonArray PublicPlans(const std::vector<Plan>& plans) {
  JsonArray array;
  array.reserve(plans.size());
  for (const Plan& plan : plans)
    array.push_back(PublicPlan(plan));
  return array;
}

Json PublicBox(const Box<Plan>& plan) {
  return plan ? PublicPlan(*plan) : Json();
}

void SetImagePlans(JsonObject& object, const TypeImage& image) {
  if (image.get_plan) object.Set("image_get_plan", PublicPlan(*image.get_plan));
  if (image.check_plan) object.Set("image_check_plan", PublicPlan(*image.check_plan));
}

Json PublicGet(const GetPlan& plan) {
  JsonObject object{{"name", plan.name}, {"type", plan.type}};
  if (!plan.resource.empty()) object.Set("resource", plan.resource);
  if (plan.version) object.Set("version", ToJson(*plan.version));
  SetImagePlans(object, plan.image);
  return object;
}

Json PublicPut(const PutPlan& plan) {
  JsonObject object{{"name", plan.name}, {"type", plan.type}};
  if (!plan.resource.empty()) object.Set("resource", plan.resource);
  SetImagePlans(object, plan.image);
  return object;
}

Json PublicCheck(const CheckPlan& plan) {
  JsonObject object{{"name", plan.name}, {"type", plan.type}};
  SetImagePlans(object, plan.image);
  return object;
}

Json PublicTask(const TaskPlan& plan) {
  return JsonObject{
      {"name", plan.name}, {"privileged", plan.privileged}, {"hermetic", plan.hermetic}};
}

Json PublicRun(const RunPlan& plan) {
  return JsonObject{
      {"message", plan.message}, {"type", plan.type}, {"privileged", plan.privileged}};
}

Json PublicSetPipeline(const SetPipelinePlan& plan) {
  return JsonObject{
      {"name", plan.name}, {"team", plan.team}, {"instance_vars", plan.instance_vars}};
}

Json PublicInParallel(const InParallelPlan& plan) {
  JsonObject object{{"steps", PublicPlans(plan.steps)}};
  if (plan.limit != 0) object.Set("limit", plan.limit);
  if (plan.fail_fast) object.Set("fail_fast", true);
  return object;
}

Json PublicAcross(const AcrossPlan& plan) {
  JsonArray vars;
  for (const AcrossVar& var : plan.vars)
    vars.push_back(JsonObject{{"name", var.name}});
  JsonObject object{{"vars", std::move(vars)}};
  if (plan.fail_fast) object.Set("fail_fast", true);
  return object;
}

Json PublicHook(const HookPlan& hook, std::string_view next) {
  JsonObject object{{"step", PublicBox(hook.step)}};
  object.Set(next, PublicBox(hook.next));
  return object;
}

}  // namespace

std::string PlanText(const Plan& plan) {
  return ToText(ToJson(plan));
}

Result<Plan> ParsePlan(std::string_view text) {
  auto plan = FromText<Plan>(text, kPlanLimits);
  if (!plan) return std::unexpected(std::move(plan).error().Context("reading a build plan"));
  return plan;
}

void ForEachPlan(Plan& plan, const std::function<void(Plan&)>& visit) {
  visit(plan);
  const auto enter = [&](Box<Plan>& inner) {
    if (inner) ForEachPlan(*inner, visit);
  };
  const auto enter_all = [&](std::vector<Plan>& steps) {
    for (Plan& step : steps)
      ForEachPlan(step, visit);
  };
  const auto enter_hook = [&](HookPlan& hook) {
    enter(hook.step);
    enter(hook.next);
  };
  const auto enter_image = [&](TypeImage& image) {
    enter(image.check_plan);
    enter(image.get_plan);
  };
  if (plan.do_steps) enter_all(*plan.do_steps);
  if (plan.in_parallel) enter_all(plan.in_parallel->steps);
  if (plan.retry) enter_all(*plan.retry);
  if (plan.on_success) enter_hook(*plan.on_success);
  if (plan.on_failure) enter_hook(*plan.on_failure);
  if (plan.on_abort) enter_hook(*plan.on_abort);
  if (plan.on_error) enter_hook(*plan.on_error);
  if (plan.ensure) enter_hook(*plan.ensure);
  if (plan.try_step) enter(plan.try_step->step);
  if (plan.timeout) enter(plan.timeout->step);
  if (plan.get) enter_image(plan.get->image);
  if (plan.put) enter_image(plan.put->image);
  if (plan.check) enter_image(plan.check->image);
}

Json PublicPlan(const Plan& plan) {
  JsonObject object;
  if (!plan.id.empty()) object.Set("id", plan.id);
  if (plan.in_parallel) object.Set("in_parallel", PublicInParallel(*plan.in_parallel));
  if (plan.across) object.Set("across", PublicAcross(*plan.across));
  if (plan.do_steps) object.Set("do", PublicPlans(*plan.do_steps));
  if (plan.get) object.Set("get", PublicGet(*plan.get));
  if (plan.put) object.Set("put", PublicPut(*plan.put));
  if (plan.check) object.Set("check", PublicCheck(*plan.check));
  if (plan.task) object.Set("task", PublicTask(*plan.task));
  if (plan.run) object.Set("run", PublicRun(*plan.run));
  if (plan.set_pipeline) object.Set("set_pipeline", PublicSetPipeline(*plan.set_pipeline));
  if (plan.load_var) object.Set("load_var", JsonObject{{"name", plan.load_var->name}});
  if (plan.on_abort) object.Set("on_abort", PublicHook(*plan.on_abort, kOnAbortName));
  if (plan.on_error) object.Set("on_error", PublicHook(*plan.on_error, kOnErrorName));
  if (plan.ensure) object.Set("ensure", PublicHook(*plan.ensure, kEnsureName));
  if (plan.on_success) object.Set("on_success", PublicHook(*plan.on_success, kOnSuccessName));
  if (plan.on_failure) object.Set("on_failure", PublicHook(*plan.on_failure, kOnFailureName));
  if (plan.try_step) object.Set("try", JsonObject{{"step", PublicBox(plan.try_step->step)}});
  if (plan.timeout) {
    object.Set("timeout", JsonObject{{"step", PublicBox(plan.timeout->step)},
                                     {"duration", plan.timeout->duration}});
  }
  if (plan.retry) object.Set("retry", PublicPlans(*plan.retry));
  if (plan.artifact_input) object.Set("artifact_input", ToJson(*plan.artifact_input));
  if (plan.artifact_output) object.Set("artifact_output", ToJson(*plan.artifact_output));
  return object;
}

}  // namespace pinion::protocol
