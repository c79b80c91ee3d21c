#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace pinion::simulation {

/// A source line with a `co_await`, as "src/engine/engine.cc:67".
using AwaitSite = std::string;

/// Every `co_await` line of the modules that the simulation covers, read from the source folder,
/// without those of tests/simulation/not_suspended.txt.
struct AwaitSites {
  std::vector<AwaitSite> existing;
  std::map<AwaitSite, std::string> excluded;  ///< with the reason
  std::vector<std::string> unused_exclusions;
};
AwaitSites FindAwaitSites(const std::string& source_dir);

/// The node whose handler runs; new coroutines are its.
void SetCurrentNode(int node);
/// Where the node's coroutines are suspended now, and what of that is a wait of its own rather than
/// a wait for another tracked coroutine. Between handlers only.
std::set<AwaitSite> SuspendedAt(int node);
/// Its coroutines are dead: they are forgotten.
void ForgetCoroutines(int node);
void ForgetAllCoroutines();

/// Asks that AimHit() tells, once, when a coroutine awaits there for the `nth` time or later.
void Aim(const AwaitSite& site, int nth);
/// Only armed ones are noticed.
void ArmAims(bool armed);
/// The node that came to one of the aims since the last call, and is suspended there; -1 for none.
int AimHit();

}  // namespace pinion::simulation
