#pragma once

#include <array>
#include <string_view>

namespace pinion::simulation {

/// Faults that can be switched on in the product as it is compiled here: see PINION_MUTANT.
inline constexpr std::array<std::string_view, 5> kMutants = {"conclusion-not-written",
                                                             "epoch-not-checked", "changes-dropped",
                                                             "serial-off-by-one", "offset-off"};

/// "" for none.
void SetMutant(std::string_view name);

}  // namespace pinion::simulation
