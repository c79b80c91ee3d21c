#include "store/wall.h"

#include "api/handlers.h"
#include "store/database.h"

namespace pinion::api {

namespace {

struct Wall {
  std::string message;
  std::int64_t time_to_live = 0;  ///< nanoseconds; 0: it stays
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("message", self.message, kOmitEmpty);
    visit("TTL", self.time_to_live, kOmitEmpty);
  }
};

}  // namespace

Task<Answer> GetWall(Call& call) {
  const auto found = co_await call.database().Read(
      store::Pool::kApi, [](store::Transaction& t) { return store::FindWall(t); });
  Wall wall;
  if (found) {
    wall.message = found->message;
    if (found->expires) {
      wall.time_to_live = (*found->expires - call.services.clock.UnixSeconds()) * 1'000'000'000;
    }
  }
  co_return JsonOf(200, wall);
}

Task<Answer> SetWall(Call& call) {
  const auto wall = co_await ReadBody<Wall>(call);
  if (wall.message.empty()) co_return TextAnswer(400, "Wall message cannot be empty");
  auto work = [&call, wall](store::Transaction& t) {
    call.SignAs(t);
    std::optional<std::int64_t> expires;
    if (wall.time_to_live > 0)
      expires = t.now() + (wall.time_to_live + 999'999'999) / 1'000'000'000;
    store::SetWall(t, wall.message, expires);
  };
  co_await call.database().Write(store::Pool::kApi, work);
  co_return EmptyAnswer(200);
}

Task<Answer> ClearWall(Call& call) {
  auto work = [&call](store::Transaction& t) {
    call.SignAs(t);
    store::ClearWall(t);
  };
  co_await call.database().Write(store::Pool::kApi, work);
  co_return EmptyAnswer(200);
}

}  // namespace pinion::api
