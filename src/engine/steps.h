#pragma once

#include "engine/build_run.h"
#include "engine/step.h"

/// The leaf steps, one source file each. A leaf returns its outcome and what it leaves behind; it
/// may throw: step.cc turns a Failure into kErrored with its message in the log, Cancelled into the
/// interruption's cause, and makes the conclusion durable.
namespace pinion::engine {

/// ARTIFACT/PATH of a task file, load_var or set_pipeline: the file's content, at most 10 MiB.
/// kInvalid if there is no artifact in it, kNotFound if it does not exist.
struct LeafContext;
Task<std::string> ReadArtifactFile(LeafContext context, std::string path);

/// What a leaf leaves behind, as it is stored with its conclusion and replayed after a crash.
struct Conclusion {
  Outcome outcome = Outcome::kSucceeded;
  /// It was cut short, by the scope around it or by its own time limit; what it left so far counts.
  bool interrupted = false;
  std::map<std::string, Artifact> artifacts;
  std::optional<protocol::Version> version;
  struct Var {
    std::string name;
    Json value;
    bool secret = false;
    template <class Self, class Visit>
    static void Fields(Self& self, Visit& visit) {
      visit("name", self.name);
      visit("value", self.value);
      visit("secret", self.secret, kOmitEmpty);
    }
  };
  std::vector<Var> vars;
  BuildRun::Also also;  ///< written in the same transaction
  /// It only looked something up: a crash before the next step's rows may have it run again.
  bool repeatable = false;

  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("artifacts", self.artifacts, kOmitEmpty);
    visit("version", self.version, kOmitEmpty);
    visit("vars", self.vars, kOmitEmpty);
  }
};

/// What a leaf gets.
struct LeafContext {
  BuildRun& run;
  Scope& scope;
  const protocol::Plan& plan;
  const Interruption& interruption;
  std::stop_token stop() const { return interruption.token(); }
  protocol::Plan const& operator*() const { return plan; }
};

Task<Conclusion> RunGet(LeafContext context);
Task<Conclusion> RunPut(LeafContext context);
Task<Conclusion> RunCheck(LeafContext context);
Task<Conclusion> RunTask(LeafContext context);
Task<Conclusion> RunPrototype(LeafContext context);
Task<Conclusion> RunSetPipeline(LeafContext context);
Task<Conclusion> RunLoadVar(LeafContext context);
Task<Conclusion> RunArtifactInput(LeafContext context);
Task<Conclusion> RunArtifactOutput(LeafContext context);

/// across is composite, but announces the sub-steps it makes.
Task<Outcome> RunAcross(BuildRun& run, Scope& scope, const protocol::Plan& plan,
                        const Interruption& interruption);

/// Fetches the image of a resource's or task's container: runs the check and the get below the
/// step, announced by image-check and image-get. Throws Failure when either fails.
Task<Artifact> FetchImage(LeafContext context, const protocol::Plan* check,
                          const protocol::Plan& get);

/// Every ((var)) of the value filled in from local vars and credential managers; kInvalid names
/// those that are undefined.
Task<Json> FillIn(LeafContext context, Json value);

}  // namespace pinion::engine
