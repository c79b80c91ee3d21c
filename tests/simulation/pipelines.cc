#include "pipelines.h"

#include <map>
#include <vector>

namespace pinion::simulation {
namespace {

class Writer {
 public:
  Writer(Random& random, bool far_worker) : random_(random), far_worker_(far_worker) {}

  std::string Pipeline() {
    resources_ = random_.Between(1, 3);
    std::string text = "resource_types:\n- {name: custom, type: mock, source: {name: image}}\n";
    text += "resources:\n";
    for (int i = 0; i < resources_; ++i) {
      const std::string name = "r" + std::to_string(i);
      const bool custom = i > 0 && random_.OneIn(4);
      text += "- {name: " + name + ", type: " + (custom ? "custom" : "mock") +
              ", check_every: " + std::to_string(random_.Between(20, 90)) +
              "s, source: {name: " + name + "}}\n";
    }
    text += "- {name: out, type: mock, check_every: 1m, source: {name: out}}\n";
    text += "jobs:\n";
    jobs_ = random_.Between(2, 4);
    for (int i = 0; i < jobs_; ++i)
      text += Job(i);
    return text;
  }

 private:
  std::string Number(int number) { return std::to_string(number); }

  std::string Job(int index) {
    std::string text = "- name: j" + Number(index) + "\n";
    switch (random_.Below(5)) {
      case 0:
        text += "  serial: true\n";
        break;
      case 1:
        text += "  serial_groups: [g" + Number(random_.Between(0, 1)) + "]\n";
        break;
      case 2:
        text += "  max_in_flight: " + Number(random_.Between(1, 3)) + "\n";
        break;
      case 3:
        text += "  serial_groups: [g0, g1]\n";
        break;
      default:
        break;
    }
    text += "  plan:\n" + Gets(index);
    may_put_ = index == 0;
    const int steps = random_.Between(2, 6);
    for (int i = 0; i < steps; ++i)
      text += "  - " + Step(2) + "\n";
    if (random_.OneIn(4)) text += "  ensure: " + Task("0") + "\n";
    if (random_.OneIn(5)) text += "  on_failure: " + Task("0") + "\n";
    return text;
  }

  std::string Gets(int index) {
    std::string text;
    got_.clear();
    for (int r = 0; r < resources_; ++r) {
      // The last job gets what no other did: a resource that nobody uses is an error.
      const bool needed = index == jobs_ - 1 && users_[r].empty();
      if (r > 0 && !needed && random_.OneIn(2)) continue;
      const std::string name = "r" + Number(r);
      got_.push_back(name);
      std::string get = "{get: " + name;
      if (r == 0 || random_.OneIn(2)) get += ", trigger: true";
      if (!users_[r].empty() && random_.OneIn(2)) {
        get += ", passed: [j" + Number(random_.Pick(users_[r])) + "]";
      }
      if (random_.OneIn(4)) get += ", version: every";
      text += "  - " + get + "}\n";
      users_[r].push_back(index);
    }
    if (index == 1 || (index > 1 && random_.OneIn(4))) text += "  - {get: out, trigger: true}\n";
    return text;
  }

  std::string Task(const std::string& end) {
    const std::string lines = Number(random_.Between(0, 12));
    const std::string each = Number(random_.OneIn(5) ? 4000 : random_.Between(1, 500));
    std::string task = "task: t" + Number(next_++) + ", config: {platform: linux, ";
    const bool image = !got_.empty() && random_.OneIn(6);
    if (!image) task += "rootfs_uri: 'raw:///sim', ";
    if (image && random_.OneIn(2)) {
      task += "image_resource: {type: mock, source: {name: image}}, ";
    }
    if (!got_.empty() && random_.OneIn(2)) task += "inputs: [{name: " + got_.front() + "}], ";
    if (random_.OneIn(3)) task += "outputs: [{name: o}], ";
    if (random_.OneIn(4)) task += "caches: [{path: c}], ";
    task += "run: {path: sim, args: ['" + lines + "', '" + each + "', '" + end + "']}}";
    if (image && !task.contains("image_resource")) task += ", image: " + got_.front();
    if (far_worker_ && random_.OneIn(3)) task += ", tags: [far]";
    return "{" + task + "}";
  }

  std::string With(std::string step, const std::string& more) {
    step.pop_back();
    return step + ", " + more + "}";
  }

  std::string Step(int depth) {
    std::uint64_t choice = random_.Below(depth > 0 ? 18 : 10);
    // Or builds would make builds for ever: what is put triggers later jobs.
    if (!may_put_ && (choice == 6 || choice == 8)) choice = 0;
    switch (choice) {
      case 0:
      case 1:
      case 2:
        return Task("0");
      case 3:
        return With(Task("flaky"), "attempts: " + Number(random_.Between(2, 3)));
      case 4:
        return Task("flaky");
      case 5:
        return With(Task("hang"), "timeout: " + Number(random_.Between(10, 90)) + "s");
      case 6:
        return "{put: out, params: {n: " + Number(next_++) + "}}";
      case 7:
        return got_.empty()
                   ? Task("0")
                   : "{task: f" + Number(next_++) + ", file: " + got_.front() + "/task.yml}";
      case 8:
        if (got_.empty()) return Task("0");
        ++next_;
        return "{do: [{load_var: v" + Number(next_) + ", file: " + got_.front() + "/value}, " +
               "{put: out, params: {x: '((.:v" + Number(next_) + "))'}}]}";
      case 9:
        if (got_.empty()) return Task("0");
        return "{set_pipeline: inner, file: " + got_.front() + "/pipeline.yml}";
      case 10:
      case 11:
        return "{in_parallel: {limit: " + Number(random_.Between(1, 3)) +
               ", fail_fast: " + (random_.OneIn(2) ? "true" : "false") + ", steps: [" +
               Step(depth - 1) + ", " + Step(depth - 1) + ", " + Step(depth - 1) + "]}}";
      case 12:
        return "{try: " + Step(depth - 1) + "}";
      case 13:
        return With(Task("1"), "on_failure: " + Step(depth - 1));
      case 14:
        return With(Task("flaky"), "ensure: " + Step(depth - 1));
      case 15:
        return With(Task("0"), "on_success: " + Step(depth - 1));
      case 16:
        return With(Task("hang"),
                    "timeout: 30s, on_abort: " + Task("0") + ", on_error: " + Task("0"));
      default:
        return With(Task("0"), "across: [{var: a, values: [one, two], max_in_flight: 2}]");
    }
  }

  Random& random_;
  bool far_worker_;
  int resources_ = 0;
  int jobs_ = 0;
  bool may_put_ = false;
  std::map<int, std::vector<int>> users_;  ///< jobs by resource
  int next_ = 0;
  std::vector<std::string> got_;
};

}  // namespace

std::string RandomPipeline(Random& random, bool far_worker) {
  return Writer(random, far_worker).Pipeline();
}

}  // namespace pinion::simulation
