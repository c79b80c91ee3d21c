#include "scheduling/pipeline_planner.h"

#include <algorithm>
#include <list>
#include <mutex>

#include "pipeline/format.h"
#include "store/versions.h"

namespace pinion::scheduling {
namespace {

using Config = std::shared_ptr<const pipeline::Pipeline>;

// The most recently used configurations, by pipeline and the version of its configuration.
class ConfigCache {
 public:
  explicit ConfigCache(std::size_t kept) : kept_(kept) {}

  Config Find(PipelineId pipeline, std::int64_t version) {
    const std::scoped_lock lock(mutex_);
    const auto found = std::ranges::find_if(entries_, [&](const Entry& entry) {
      return entry.pipeline == pipeline && entry.version == version;
    });
    if (found == entries_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, found);
    return found->config;
  }

  void Keep(PipelineId pipeline, std::int64_t version, Config config) {
    const std::scoped_lock lock(mutex_);
    std::erase_if(entries_, [&](const Entry& entry) { return entry.pipeline == pipeline; });
    entries_.push_front({pipeline, version, std::move(config)});
    if (entries_.size() > kept_) entries_.pop_back();
  }

 private:
  struct Entry {
    PipelineId pipeline;
    std::int64_t version;
    Config config;
  };
  std::size_t kept_;
  std::mutex mutex_;
  std::list<Entry> entries_;
};

class PipelinePlanner final : public BuildPlanner {
 public:
  PipelinePlanner(pipeline::BaseDefaults base_defaults, std::size_t kept)
      : base_defaults_(std::move(base_defaults)), cache_(kept) {}

  Result<protocol::Plan> MakePlan(store::Transaction& transaction, const store::JobRow& job,
                                  const std::vector<store::BuildInputRow>& inputs,
                                  bool manual) override {
    const auto config = Load(transaction, job.pipeline);
    if (!config) return std::unexpected(config.error());
    const auto found = std::ranges::find((*config)->jobs, job.name,
                                         [](const pipeline::Job& one) { return one.name; });
    if (found == (*config)->jobs.end()) {
      return Fail(ErrorKind::kNotFound, "the pipeline's configuration has no job " + job.name);
    }
    pipeline::PlanInput input;
    input.job = *found;
    input.resources = (*config)->resources;
    input.resource_types = (*config)->resource_types;
    input.prototypes = (*config)->prototypes;
    for (const auto& row : inputs)
      input.versions[row.name] = store::ParseVersion(row.version);
    input.manually_triggered = manual;
    input.base_defaults = base_defaults_;
    return pipeline::MakePlan(input);
  }

 private:
  Result<Config> Load(store::Transaction& transaction, PipelineId pipeline) {
    const auto version =
        transaction.QueryOne("select config_version from pipelines where id = $1", {pipeline});
    if (!version) return Fail(ErrorKind::kNotFound, "the pipeline is gone");
    if (auto config = cache_.Find(pipeline, version->Integer(0))) return config;
    const auto row = transaction.QueryOne(
        "select config, config_version from pipelines where id = $1", {pipeline});
    auto json = ParseJson(row->Text(0), {.bytes = std::size_t{256} << 20, .depth = 1000});
    if (!json) return std::unexpected(std::move(json).error());
    auto parsed = pipeline::ConfigFromJson(*json);
    if (!parsed) return std::unexpected(std::move(parsed).error());
    auto config = std::make_shared<const pipeline::Pipeline>(std::move(*parsed));
    cache_.Keep(pipeline, row->Integer(1), config);
    return config;
  }

  pipeline::BaseDefaults base_defaults_;
  ConfigCache cache_;
};

}  // namespace

std::unique_ptr<BuildPlanner> MakePipelinePlanner(pipeline::BaseDefaults base_defaults,
                                                  std::size_t kept) {
  return std::make_unique<PipelinePlanner>(std::move(base_defaults), kept);
}

}  // namespace pinion::scheduling
