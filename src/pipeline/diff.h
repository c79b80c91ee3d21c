#pragma once

#include <string>

#include "pipeline/model.h"

namespace pinion::pipeline {

enum class Colour { kNone, kAnsi };

/// What changes from one pipeline to another, part by part with a line diff of their normal forms,
/// as set-pipeline shows it. Empty if nothing does. Parts of more than 2,000 changed lines are
/// shown as wholly replaced.
std::string DiffText(const Pipeline& before, const Pipeline& after, Colour colour);

}  // namespace pinion::pipeline
