#include "pipeline/model.h"

namespace pinion::pipeline {
namespace {

using Visit = std::function<void(const Step&)>;

void VisitStep(const Step& step, const Visit& visit);

void VisitHook(const Box<Step>& hook, const Visit& visit) {
  if (hook) VisitStep(*hook, visit);
}

void VisitStep(const Step& step, const Visit& visit) {
  visit(step);
  if (const auto* core = std::get_if<TryStep>(&step.core)) {
    VisitHook(core->step, visit);
  } else if (const auto* list = std::get_if<DoStep>(&step.core)) {
    for (const Step& inner : list->steps)
      VisitStep(inner, visit);
  } else if (const auto* parallel = std::get_if<InParallelStep>(&step.core)) {
    for (const Step& inner : parallel->steps)
      VisitStep(inner, visit);
  }
  VisitHook(step.on_success, visit);
  VisitHook(step.on_failure, visit);
  VisitHook(step.on_abort, visit);
  VisitHook(step.on_error, visit);
  VisitHook(step.ensure, visit);
}

template <class Core>
std::vector<const Core*> CoresOf(const Job& job) {
  std::vector<const Core*> cores;
  ForEachStep(job, [&](const Step& step) {
    if (const auto* core = std::get_if<Core>(&step.core)) cores.push_back(core);
  });
  return cores;
}

}  // namespace

void ForEachStep(const Job& job, const std::function<void(const Step&)>& visit) {
  for (const Step& step : job.plan)
    VisitStep(step, visit);
  VisitHook(job.on_success, visit);
  VisitHook(job.on_failure, visit);
  VisitHook(job.on_abort, visit);
  VisitHook(job.on_error, visit);
  VisitHook(job.ensure, visit);
}

std::vector<const GetStep*> Inputs(const Job& job) {
  return CoresOf<GetStep>(job);
}

std::vector<const PutStep*> Outputs(const Job& job) {
  return CoresOf<PutStep>(job);
}

}  // namespace pinion::pipeline
