#include "mutants.h"

#include <cstdlib>
#include <string>

#include "base/mutant.h"

namespace pinion {
namespace {
std::string active;
}  // namespace

bool MutantIsActive(std::string_view name) {
  return name == active;
}

namespace simulation {
void SetMutant(std::string_view name) {
  active = name;
}
}  // namespace simulation
}  // namespace pinion
