#pragma once

#include "base/error.h"
#include "base/json.h"

namespace pinion::worker {

/// The capabilities of a container, as the "capabilities" member of an OCI process: a customary few
/// for unprivileged ones, all that this process has itself for privileged ones. None are
/// inheritable: a program must not gain by files what its user does not have.
Json Capabilities(bool privileged);

}  // namespace pinion::worker
