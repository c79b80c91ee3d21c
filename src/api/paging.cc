#include "api/paging.h"

#include <algorithm>

#include "api/instance_vars.h"
#include "api/present/convert.h"
#include "base/text.h"
#include "store/database.h"

namespace pinion::api {

namespace {

std::int64_t NumberAt(const http::Query& query, std::string_view name) {
  const auto text = query.Get(name);
  return text ? ParseNumber(*text).value_or(0) : 0;
}

}  // namespace

PageRequest PageOf(const http::Query& query) {
  PageRequest request;
  request.page.from = std::max<std::int64_t>(NumberAt(query, "from"), 0);
  request.page.to = std::max<std::int64_t>(NumberAt(query, "to"), 0);
  const std::int64_t limit = NumberAt(query, "limit");
  // More than this in one answer is asked for page by page.
  request.page.limit = limit <= 0 ? 100 : static_cast<int>(std::min<std::int64_t>(limit, 10'000));
  const auto timestamps = query.Get("timestamps");
  request.by_time = timestamps && !timestamps->empty();
  return request;
}

store::BuildList ListPage(store::Transaction& transaction, const store::BuildFilter& filter,
                          const PageRequest& page) {
  return page.by_time ? store::ListBuildsStarted(transaction, filter, page.page)
                      : store::ListBuildPage(transaction, filter, page.page);
}

void AddPageLinks(const Call& call, http::Response& response, std::int64_t newer,
                  std::int64_t older, int limit) {
  const std::string base =
      call.services.settings.external_url + std::string(call.exchange.request().Path());
  const std::string rest =
      "&limit=" + std::to_string(limit) + InstanceVarsQuery(call.instance_vars);
  if (older) {
    response.headers.Add("Link",
                         "<" + base + "?to=" + std::to_string(older) + rest + ">; rel=\"next\"");
  }
  if (newer) {
    response.headers.Add(
        "Link", "<" + base + "?from=" + std::to_string(newer) + rest + ">; rel=\"previous\"");
  }
}

http::Response BuildListAnswer(const Call& call, const store::BuildList& list,
                               const PageRequest& page, bool with_comment) {
  auto response = JsonAnswer(200, present::ArrayOf(list.builds, [&](const store::BuildRow& build) {
                               return present::ToBuild(build, with_comment);
                             }));
  AddPageLinks(call, response, list.newer, list.older, page.page.limit);
  return response;
}

}  // namespace pinion::api
