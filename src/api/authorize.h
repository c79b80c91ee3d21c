#pragma once

#include <optional>

#include "api/route.h"

namespace pinion::api {

/// Looks up what the path names and decides whether the caller may go on. Nothing: it may, and the
/// call's scope is filled in. Otherwise the answer that refuses it. The order of the checks is
/// upstream's: what is archived, and pipelines that may be public, are looked up before the token
/// counts.
Task<std::optional<http::Response>> Admit(Call& call);

}  // namespace pinion::api
