#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json_fields.h"
#include "protocol/task_config.h"
#include "vars/variables.h"

namespace pinion::engine {

/// Something a step left behind for later steps: a volume on a worker.
struct Artifact {
  std::string worker;
  std::string volume;       ///< handle
  bool from_cache = false;  ///< a resource cache: never written to
  std::string content;      ///< which one: its key; "" for what a step made

  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("worker", self.worker);
    visit("volume", self.volume);
    visit("from_cache", self.from_cache, kOmitEmpty);
    visit("content", self.content, kOmitEmpty);
  }
};

/// What the steps of a build share: artifacts by name, versions by plan id, local vars. Scopes nest
/// (across, image fetches): a name is looked up outwards and set in the innermost scope.
class Scope {
 public:
  explicit Scope(Scope* parent = nullptr)
      : parent_(parent), vars_(parent ? &parent->vars_ : nullptr) {}

  void SetArtifact(const std::string& name, Artifact artifact) {
    artifacts_[name] = std::move(artifact);
  }
  const Artifact* FindArtifact(const std::string& name) const;
  /// Every visible artifact, inner ones hiding outer ones.
  std::map<std::string, Artifact> Artifacts() const;

  /// What a get, put or check came to, for `version_from`.
  void SetVersion(const std::string& plan_id, protocol::Version version) {
    versions_[plan_id] = std::move(version);
  }
  const protocol::Version* FindVersion(const std::string& plan_id) const;

  /// ((.:name)): set by load_var, across and gets. Texts of secret values are redacted from logs.
  vars::LocalVariables& vars() { return vars_; }
  const vars::LocalVariables& vars() const { return vars_; }

 private:
  Scope* parent_;
  std::map<std::string, Artifact> artifacts_;
  std::map<std::string, protocol::Version> versions_;
  vars::LocalVariables vars_;
};

}  // namespace pinion::engine
