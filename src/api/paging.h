#pragma once

#include <string>

#include "api/route.h"
#include "store/builds_view.h"

namespace pinion::api {

/// What a list was asked for by `from`, `to`, `limit` and `timestamps`.
struct PageRequest {
  store::BuildPage page;
  bool by_time = false;  ///< from and to are unix seconds of the start
};
/// Upstream's forgiving rules: what is no number counts as 0, a limit of 0 as 100.
PageRequest PageOf(const http::Query& query);

store::BuildList ListPage(store::Transaction& transaction, const store::BuildFilter& filter,
                          const PageRequest& page);

/// Runs a read of one page; a range that makes no sense is 404 as in upstream's lists of a thing.
template <class Work, class T = std::invoke_result_t<Work, store::Transaction&>>
Task<T> ReadPage(Call& call, Work work) {
  std::optional<Error> bad_range;
  try {
    T value = co_await call.database().Read(store::Pool::kApi, work);
    co_return std::move(value);
  } catch (const Failure& failure) {
    if (failure.error().kind != ErrorKind::kInvalid) throw;
    bad_range = failure.error();
  }
  throw Failure(ErrorKind::kNotFound, bad_range->message);
}

/// The list with Link headers to its neighbours.
http::Response BuildListAnswer(const Call& call, const store::BuildList& list,
                               const PageRequest& page, bool with_comment);

/// Adds the Link headers; `newer` and `older` 0 for none.
void AddPageLinks(const Call& call, http::Response& response, std::int64_t newer,
                  std::int64_t older, int limit);

}  // namespace pinion::api
