#pragma once

#include <memory>

#include "store/database.h"

namespace pinion::store {

/// "sqlite:/path/to/file" or "sqlite::memory:". WAL, synchronous=FULL, one writer at a time in the
/// order they asked, readers beside it. Throws Failure.
std::unique_ptr<Database> OpenSqlite(const DatabaseOptions& options, const Clock& clock,
                                     Logger log);

}  // namespace pinion::store
