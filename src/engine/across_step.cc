#include <algorithm>

#include "engine/control_steps.h"
#include "engine/steps.h"
#include "engine/text_params.h"
#include "protocol/events.h"
#include "vars/template.h"

namespace pinion::engine {
namespace {

// Combinations beyond this are a mistake in the pipeline, not a build.
constexpr std::size_t kSubstepsMax = 10'000;

struct Substep {
  protocol::Plan plan;
  JsonArray values;
};

struct AcrossRun {
  BuildRun& run;
  Scope& scope;
  const protocol::AcrossPlan& plan;
  std::vector<std::size_t> counts;  ///< values of each var
  std::vector<Substep> substeps;    ///< first var outermost
};

std::vector<JsonArray> Combinations(const std::vector<JsonArray>& values) {
  std::vector<JsonArray> combinations = {{}};
  for (const JsonArray& choices : values) {
    if (combinations.size() * choices.size() > kSubstepsMax) {
      throw Failure(ErrorKind::kTooLarge, "across has more than " + std::to_string(kSubstepsMax) +
                                              " combinations of values");
    }
    std::vector<JsonArray> longer;
    for (const JsonArray& start : combinations) {
      for (const Json& choice : choices) {
        longer.push_back(start);
        longer.back().push_back(choice);
      }
    }
    combinations = std::move(longer);
  }
  return combinations;
}

/// The template with one combination filled in, and ids of its own.
protocol::Plan MakeSubstep(const protocol::Plan& across, const JsonArray& values,
                           std::size_t index) {
  const protocol::AcrossPlan& plan = *across.across;
  const Json pattern = ValueOrThrow(ParseJson(plan.substep_template));
  vars::LocalVariables local;
  for (std::size_t i = 0; i < plan.vars.size(); ++i) {
    local.Set(plan.vars[i].name, values[i], false);
  }
  const Json filled = ValueOrThrow(vars::Interpolate(pattern, local));
  auto substep = ValueOrThrow(FromJson<protocol::Plan>(WithTextParams(filled)));
  std::map<std::string, std::string> ids;
  const std::string prefix = across.id + "/" + std::to_string(index) + "/";
  protocol::ForEachPlan(substep, [&](protocol::Plan& part) {
    std::string id = prefix + std::to_string(ids.size());
    ids[part.id] = id;
    part.id = std::move(id);
    part.attempts = across.attempts;
  });
  protocol::ForEachPlan(substep, [&](protocol::Plan& part) {
    if (!part.get || !part.get->version_from) return;
    const auto mapped = ids.find(*part.get->version_from);
    if (mapped != ids.end()) part.get->version_from = mapped->second;
  });
  return substep;
}

std::size_t Limit(const protocol::AcrossVar& var) {
  if (var.max_in_flight.IsString()) return 0;  // "all"
  return var.max_in_flight.IsInteger()
             ? static_cast<std::size_t>(std::max<std::int64_t>(var.max_in_flight.AsInteger(), 1))
             : 1;
}

Task<Outcome> RunSubstep(AcrossRun& across, std::size_t index, const Interruption& interruption) {
  // Task files are filled in from the local vars too, so the plan alone does not do.
  Scope local(&across.scope);
  const Substep& substep = across.substeps[index];
  for (std::size_t i = 0; i < across.plan.vars.size(); ++i) {
    local.vars().Set(across.plan.vars[i].name, substep.values[i], false);
  }
  co_return co_await RunStep(across.run, local, substep.plan, interruption);
}

/// Sub-steps [first, first + count) that share the values of the vars before `depth`.
Task<Outcome> RunLevel(AcrossRun& across, std::size_t depth, std::size_t first, std::size_t count,
                       const Interruption& interruption) {
  const bool innermost = depth + 1 == across.plan.vars.size();
  const std::size_t values = across.counts[depth];
  const std::size_t each = values == 0 ? 0 : count / values;
  IndexedStep run_one = [&across, depth, first, each, innermost](std::size_t index,
                                                                 const Interruption& inner) {
    if (innermost) return RunSubstep(across, first + index, inner);
    return RunLevel(across, depth + 1, first + index * each, each, inner);
  };
  co_return co_await RunConcurrently(across.run, values, Limit(across.plan.vars[depth]),
                                     across.plan.fail_fast, std::move(run_one), interruption);
}

Task<void> Prepare(AcrossRun& across, const protocol::Plan& plan,
                   const Interruption& interruption) {
  std::vector<JsonArray> values;
  for (const protocol::AcrossVar& var : across.plan.vars) {
    const vars::Reference shadowed{.source = ".", .path = var.name};
    if (const auto found = across.scope.vars().Get(shadowed); found && *found) {
      across.run.Say(
          plan.id, "\x1b[1;33mWARNING: across step shadows local var '" + var.name + "'\x1b[0m\n");
    }
    const Json filled = co_await FillIn({across.run, across.scope, plan, interruption}, var.values);
    if (!filled.IsArray()) {
      throw Failure(ErrorKind::kInvalid, "across: values of '" + var.name + "' are no list but " +
                                             std::string(filled.TypeName()));
    }
    values.push_back(filled.AsArray());
    across.counts.push_back(filled.AsArray().size());
  }
  for (JsonArray& combination : Combinations(values)) {
    protocol::Plan substep = MakeSubstep(plan, combination, across.substeps.size());
    across.substeps.push_back({std::move(substep), std::move(combination)});
  }
}

}  // namespace

Task<Outcome> RunAcross(BuildRun& run, Scope& scope, const protocol::Plan& plan,
                        const Interruption& interruption) {
  const protocol::Origin origin{.id = plan.id};
  run.EmitOnce(plan.id, Stage::kInitialized, protocol::InitializeEvent("", origin, run.now()));
  run.EmitOnce(plan.id, Stage::kStarted, protocol::StartEvent("", origin, run.now()));
  AcrossRun across{.run = run, .scope = scope, .plan = *plan.across};
  std::string error;
  try {
    co_await Prepare(across, plan, interruption);
  } catch (const Cancelled&) {
    co_return interruption.cause();
  } catch (...) {
    error = CurrentError().message;
  }
  if (!error.empty()) {
    run.Errored(plan.id, error);
    co_return Outcome::kErrored;
  }
  std::vector<protocol::Plan> plans;
  std::vector<JsonArray> values;
  for (const Substep& substep : across.substeps) {
    plans.push_back(substep.plan);
    values.push_back(substep.values);
  }
  run.EmitOnce(plan.id + "#", Stage::kInitialized,
               protocol::AcrossSubstepsEvent(origin, run.now(), plans, values));
  const Outcome outcome = co_await RunLevel(across, 0, 0, across.substeps.size(), interruption);
  if (outcome == Outcome::kErrored) run.Errored(plan.id, "a step of across errored");
  if (outcome == Outcome::kSucceeded || outcome == Outcome::kFailed) {
    run.EmitOnce(plan.id, Stage::kFinished,
                 protocol::FinishEvent(origin, run.now(), outcome == Outcome::kSucceeded));
  }
  co_return outcome;
}

}  // namespace pinion::engine
