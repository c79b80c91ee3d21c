#pragma once

#include "world.h"

namespace pinion::simulation {

/// Runs one seed in a process of its own, so that what killed nodes leave behind goes with it, and
/// a crash of the product is a finding like any other.
RunReport RunApart(const RunOptions& options);

/// The same for many, as many at once as there are processors; `ended` is called in the order of
/// their start, and says whether more are wanted.
void RunMany(const std::function<std::optional<RunOptions>()>& next,
             const std::function<bool(const RunOptions&, const RunReport&)>& ended);

/// What belongs to a seed: the sites that it aims at, too. All seeds together go through all sites.
RunOptions OptionsOf(std::uint64_t seed, const AwaitSites& sites);

/// What several runs hit, beside what there is.
class Coverage {
 public:
  explicit Coverage(AwaitSites sites) : sites_(std::move(sites)) {}
  void Add(const RunReport& report) { hit_.insert(report.hit.begin(), report.hit.end()); }
  std::vector<AwaitSite> Missed() const;
  /// "N of M await points hit by kills (P %); E excluded", and the missed.
  std::string Text() const;
  double Share() const;
  const AwaitSites& sites() const { return sites_; }

 private:
  AwaitSites sites_;
  std::set<AwaitSite> hit_;
};

}  // namespace pinion::simulation
