#include "secrets/var_sources.h"

#include "pipeline/format.h"
#include "pipeline/model.h"
#include "store/database.h"
#include "store/pipelines.h"
#include "vars/template.h"

namespace pinion::secrets {
namespace {

// Var sources whose configs hold vars of other var sources; the validator refuses circles.
constexpr std::size_t kDepthMax = 16;

Json Member(const Json& object, std::string_view name) {
  if (!object.IsObject()) return {};
  const Json* found = object.AsObject().Find(name);
  return found ? *found : Json();
}

}  // namespace

struct VarSources::Asked {
  VarOwner owner;
  JsonArray sources;  ///< as in the pipeline's config
  vars::ResolvedVariables values;
  std::stop_token stop;
};

Task<vars::ResolvedVariables> VarSources::Resolve(VarOwner owner, PipelineId pipeline,
                                                  std::vector<vars::Reference> references,
                                                  std::stop_token stop) {
  std::erase_if(references, [](const vars::Reference& reference) {
    return reference.source.empty() || reference.source == ".";
  });
  Asked asked{.owner = std::move(owner), .stop = std::move(stop)};
  if (references.empty() || !pipeline) co_return std::move(asked.values);
  const std::string config =
      co_await database_.Read(store::Pool::kEngine, [pipeline](store::Transaction& transaction) {
        return store::PipelineConfigText(transaction, pipeline);
      });
  const Json sources = Member(ValueOrThrow(ParseJson(config)), "var_sources");
  if (sources.IsArray()) asked.sources = sources.AsArray();
  for (const vars::Reference& reference : references)
    co_await Ask(asked, reference, 0);
  co_return std::move(asked.values);
}

Task<void> VarSources::Ask(Asked& asked, vars::Reference reference, std::size_t depth) {
  ThrowIfStopped(asked.stop);
  if (asked.values.Has(reference)) co_return;
  const Json* source = nullptr;
  for (const Json& candidate : asked.sources) {
    if (candidate.StringAt("name") == reference.source) source = &candidate;
  }
  if (!source) co_return;
  if (depth == kDepthMax) {
    throw Failure(ErrorKind::kInvalid, "var source '" + reference.source +
                                           "' needs too many others, one after the other");
  }
  Json config = Member(*source, "config");
  for (const vars::Reference& needed : ValueOrThrow(vars::References(config)))
    co_await Ask(asked, needed, depth + 1);
  config = ValueOrThrow(vars::InterpolateAll(config, asked.values));
  const std::string_view type = source->StringAt("type");
  if (type == "dummy") {
    const Json values = Member(config, "vars");
    const Json value = Member(values, reference.path);
    if (!value.IsNull()) asked.values.Set(reference, value);
  } else if (type == "idtoken") {
    if (reference.path != "token") {
      throw Failure(ErrorKind::kInvalid,
                    "var source '" + reference.source + "' has one var only: token");
    }
    const auto token = ValueOrThrow(IdTokenConfig::Parse(config));
    asked.values.Set(reference, co_await tokens_.Make(token, asked.owner));
  } else {
    throw Failure(ErrorKind::kInvalid, "var source '" + reference.source + "': type " +
                                           std::string(type) + " is not supported yet");
  }
}

}  // namespace pinion::secrets
