#pragma once

#include <string_view>

/// PINION_MUTANT("name") marks a place where the simulation's own test breaks the product on
/// purpose, to see that it is found. Everywhere else it is false and costs nothing.
#ifdef PINION_MUTANTS
namespace pinion {
bool MutantIsActive(std::string_view name);
}
#define PINION_MUTANT(name) ::pinion::MutantIsActive(name)
#else
#define PINION_MUTANT(name) false
#endif
