#include "store/postgres_database.h"

namespace pinion::store {

std::unique_ptr<Database> OpenPostgres(const DatabaseOptions&, const Clock&, Logger) {
  throw Failure(ErrorKind::kUnavailable, "PostgreSQL");
}

}  // namespace pinion::store
