#pragma once

#include <memory>

#include "store/database.h"

namespace pinion::store {

/// A libpq connection URI or string. Throws Failure.
std::unique_ptr<Database> OpenPostgres(const DatabaseOptions& options, const Clock& clock,
                                       Logger log);

}  // namespace pinion::store
