#include "pipeline/reader.h"

#include <utility>

#include "base/clock.h"
#include "base/units.h"
#include "pipeline/step_reader.h"
#include "pipeline/value_reader.h"

namespace pinion::pipeline {
namespace {

class PipelineReader {
 public:
  PipelineReader(ParsedPipeline& out, ReadRules rules)
      : out_(out),
        unknown_(rules.refuse_unknown_keys ? ValueReader::Unknown::kRefuse
                                           : ValueReader::Unknown::kIgnore),
        unknown_top_(rules.refuse_unknown_top_keys ? ValueReader::Unknown::kRefuse
                                                   : ValueReader::Unknown::kIgnore),
        values_(out.issues, true),
        steps_(out.issues, out.sources) {}

  void Read(const Node& root) {
    Pipeline& pipeline = out_.pipeline;
    const auto list = [this](auto& items, auto member) {
      return [this, &items, member](const Node& node, const std::string& path) {
        values_.List(node, path, [&](const Node& item, const std::string& at) {
          out_.sources.Add(at, item.at);
          (this->*member)(item, at, items.emplace_back());
        });
      };
    };
    values_.Fields(
        root, "",
        {{"groups", list(pipeline.groups, &PipelineReader::ReadGroup)},
         {"var_sources", list(pipeline.var_sources, &PipelineReader::ReadVarSource)},
         {"resources", list(pipeline.resources, &PipelineReader::ReadResource)},
         {"resource_types",
          list(pipeline.resource_types, &PipelineReader::ReadType<protocol::ResourceType>)},
         {"prototypes", list(pipeline.prototypes, &PipelineReader::ReadType<Prototype>)},
         {"jobs", list(pipeline.jobs, &PipelineReader::ReadJob)},
         {"display",
          [&](const Node& node, const std::string& path) {
            if (!node.IsNull()) ReadDisplay(node, path, pipeline.display.emplace());
          }},
         {"user_data", [&](auto& n, auto& p) { values_.Any(n, p, pipeline.user_data); }}},
        unknown_top_);
  }

 private:
  /// A part is known as "SECTION[I]" and, by the words of most messages, as "SECTION.NAME".
  void AddName(const std::string& path, const Node& node, const std::string& name) {
    out_.sources.Add(path.substr(0, path.rfind('[')) + "." + name, node.at);
  }

  void ReadGroup(const Node& node, const std::string& path, Group& group) {
    values_.Fields(node, path,
                   {{"name", [&](auto& n, auto& p) { values_.Text(n, p, group.name); }},
                    {"jobs", [&](auto& n, auto& p) { values_.Texts(n, p, group.jobs); }},
                    {"resources", [&](auto& n, auto& p) { values_.Texts(n, p, group.resources); }}},
                   unknown_);
    AddName(path, node, group.name);
  }

  void ReadVarSource(const Node& node, const std::string& path, VarSource& source) {
    values_.Fields(node, path,
                   {{"name", [&](auto& n, auto& p) { values_.Text(n, p, source.name); }},
                    {"type", [&](auto& n, auto& p) { values_.Text(n, p, source.type); }},
                    {"config", [&](auto& n, auto& p) { values_.Any(n, p, source.config); }}},
                   unknown_);
    AddName(path, node, source.name);
  }

  void ReadDisplay(const Node& node, const std::string& path, Display& display) {
    values_.Fields(node, path,
                   {{"background_image",
                     [&](auto& n, auto& p) { values_.Text(n, p, display.background_image); }},
                    {"background_filter",
                     [&](auto& n, auto& p) { values_.Text(n, p, display.background_filter); }}},
                   unknown_);
  }

  void ReadCheckEvery(const Node& node, const std::string& path, std::string& out) {
    if (node.IsNull()) return;
    if (!node.IsText()) return values_.Mismatch(node, path, "a duration or 'never'");
    const std::string& text = node.scalar.AsString();
    if (text.empty() || text == "never") {
      out = text;
      return;
    }
    const auto duration = ParseDuration(text);
    if (!duration) return values_.Add(node, path, duration.error().message);
    // Zero is the server's default, as if nothing was given.
    out = *duration == Duration(0) ? "" : DurationText(*duration);
  }

  void ReadResource(const Node& node, const std::string& path, Resource& resource) {
    values_.Fields(
        node, path,
        {{"name", [&](auto& n, auto& p) { values_.Text(n, p, resource.name); }},
         {"old_name", [&](auto& n, auto& p) { values_.Text(n, p, resource.old_name); }},
         {"public", [&](auto& n, auto& p) { values_.Bool(n, p, resource.is_public); }},
         {"webhook_token", [&](auto& n, auto& p) { values_.Text(n, p, resource.webhook_token); }},
         {"type", [&](auto& n, auto& p) { values_.Text(n, p, resource.type); }},
         {"source", [&](auto& n, auto& p) { values_.Object(n, p, resource.source); }},
         {"check_every", [&](auto& n, auto& p) { ReadCheckEvery(n, p, resource.check_every); }},
         {"check_timeout", [&](auto& n, auto& p) { values_.Text(n, p, resource.check_timeout); }},
         {"tags", [&](auto& n, auto& p) { values_.Tags(n, p, resource.tags); }},
         {"version",
          [&](auto& n, auto& p) {
            if (!n.IsNull()) values_.TextMap(n, p, resource.version.emplace());
          }},
         {"icon", [&](auto& n, auto& p) { values_.Text(n, p, resource.icon); }},
         {"expose_build_created_by",
          [&](auto& n, auto& p) { values_.Bool(n, p, resource.expose_build_created_by); }}},
        unknown_);
    AddName(path, node, resource.name);
  }

  template <class Type>
  void ReadType(const Node& node, const std::string& path, Type& type) {
    values_.Fields(
        node, path,
        {{"name", [&](auto& n, auto& p) { values_.Text(n, p, type.name); }},
         {"type", [&](auto& n, auto& p) { values_.Text(n, p, type.type); }},
         {"source", [&](auto& n, auto& p) { values_.Object(n, p, type.source); }},
         {"defaults", [&](auto& n, auto& p) { values_.Object(n, p, type.defaults); }},
         {"privileged", [&](auto& n, auto& p) { values_.Bool(n, p, type.privileged); }},
         {"check_every", [&](auto& n, auto& p) { ReadCheckEvery(n, p, type.check_every); }},
         {"tags", [&](auto& n, auto& p) { values_.Tags(n, p, type.tags); }},
         {"params", [&](auto& n, auto& p) { values_.Object(n, p, type.params); }}},
        unknown_);
    AddName(path, node, type.name);
  }

  void ReadRetention(const Node& node, const std::string& path,
                     std::optional<BuildLogRetention>& out) {
    if (node.IsNull()) return;
    auto& retention = out.emplace();
    values_.Fields(
        node, path,
        {{"builds", [&](auto& n, auto& p) { values_.Integer(n, p, retention.builds); }},
         {"minimum_succeeded_builds",
          [&](auto& n, auto& p) { values_.Integer(n, p, retention.minimum_succeeded_builds); }},
         {"days", [&](auto& n, auto& p) { values_.Integer(n, p, retention.days); }}},
        unknown_);
  }

  void ReadJob(const Node& node, const std::string& path, Job& job) {
    // Steps say where they are by the job's name, so it must be known first.
    std::string base = path;
    if (node.IsMapping()) {
      std::vector<Issue> told_later;
      ValueReader names(told_later, true);
      names.Fields(node, path, {{"name", [&](auto& n, auto& p) { names.Text(n, p, job.name); }}},
                   ValueReader::Unknown::kIgnore);
      if (!job.name.empty()) base = path.substr(0, path.rfind('[')) + "." + job.name;
      out_.sources.Add(base, node.at);
    }
    const auto hook = [&](Box<Step>& box) {
      return [this, &box, base](const Node& n, const std::string& p) {
        if (n.IsNull()) return;
        steps_.Read(n, base + ".plan." + p.substr(p.rfind('.') + 1), box.emplace());
      };
    };
    values_.Fields(
        node, path,
        {{"name", [&](auto& n, auto& p) { values_.Text(n, p, job.name); }},
         {"old_name", [&](auto& n, auto& p) { values_.Text(n, p, job.old_name); }},
         {"public", [&](auto& n, auto& p) { values_.Bool(n, p, job.is_public); }},
         {"disable_manual_trigger",
          [&](auto& n, auto& p) { values_.Bool(n, p, job.disable_manual_trigger); }},
         {"disable_reruns", [&](auto& n, auto& p) { values_.Bool(n, p, job.disable_reruns); }},
         {"serial", [&](auto& n, auto& p) { values_.Bool(n, p, job.serial); }},
         {"interruptible", [&](auto& n, auto& p) { values_.Bool(n, p, job.interruptible); }},
         {"serial_groups", [&](auto& n, auto& p) { values_.Texts(n, p, job.serial_groups); }},
         {"max_in_flight", [&](auto& n, auto& p) { values_.Integer(n, p, job.max_in_flight); }},
         {"tags", [&](auto& n, auto& p) { values_.Tags(n, p, job.tags); }},
         {"build_logs_to_retain",
          [&](auto& n, auto& p) { values_.Integer(n, p, job.build_logs_to_retain); }},
         {"build_log_retention",
          [&](auto& n, auto& p) { ReadRetention(n, p, job.build_log_retention); }},
         {"on_success", hook(job.on_success)},
         {"on_failure", hook(job.on_failure)},
         {"on_abort", hook(job.on_abort)},
         {"on_error", hook(job.on_error)},
         {"ensure", hook(job.ensure)},
         {"plan",
          [&](const Node& n, const std::string&) {
            out_.sources.Add(base + ".plan", n.at);
            values_.List(n, base + ".plan.do", [&](const Node& item, const std::string& at) {
              steps_.Read(item, at, job.plan.emplace_back());
            });
          }}},
        unknown_);
  }

  ParsedPipeline& out_;
  const ValueReader::Unknown unknown_;
  const ValueReader::Unknown unknown_top_;
  ValueReader values_;
  StepReader steps_;
};

}  // namespace

ParsedPipeline ReadPipeline(const Node& root, ReadRules rules) {
  ParsedPipeline parsed;
  PipelineReader(parsed, rules).Read(root);
  return parsed;
}

Result<ParsedPipeline> ReadPipeline(std::string_view text, ReadRules rules) {
  auto document = ParseYaml(text);
  if (!document) return std::unexpected(std::move(document).error());
  ParsedPipeline parsed = ReadPipeline(document->root, rules);
  if (rules.refuse_repeated_keys) {
    parsed.issues.insert(parsed.issues.begin(),
                         std::make_move_iterator(document->repeated_keys.begin()),
                         std::make_move_iterator(document->repeated_keys.end()));
  }
  return parsed;
}

}  // namespace pinion::pipeline
