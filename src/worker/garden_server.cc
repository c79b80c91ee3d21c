#include "worker/garden_server.h"

#include "base/text.h"
#include "protocol/garden.h"
#include "worker/containers/limits.h"

namespace pinion::worker {
namespace {

using http::Exchange;
using http::PathParams;
using protocol::garden::ContainerSpec;
using protocol::garden::ErrorBody;

constexpr std::size_t kBodyBytesMax = 16 << 20;

Task<void> Answer(Exchange& exchange, int status, Json body) {
  co_await exchange.Respond({.status = status,
                             .headers = {{"Content-Type", "application/json"}},
                             .body = ToText(body) + "\n"});
}

/// What went wrong, as upstream's clients tell it apart.
std::pair<int, ErrorBody> Describe(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const GardenFailure& failure) {
    return {failure.status(), failure.body()};
  } catch (const ExecutableNotFound& failure) {
    return {500, {.type = "ExecutableNotFoundError", .message = failure.error().message}};
  } catch (const Failure& failure) {
    const int status = failure.error().kind == ErrorKind::kConflict ? 409 : 500;
    return {status, {.type = "", .message = failure.error().message}};
  } catch (const std::exception& other) {
    return {500, {.type = "", .message = other.what()}};
  }
}

template <class T>
Task<T> ReadJson(Exchange& exchange) {
  auto text = co_await exchange.ReadBody(kBodyBytesMax);
  if (!text) throw Failure(text.error());
  auto value = FromText<T>(*text);
  if (!value) throw Failure(std::move(value).error().Context("request body"));
  co_return std::move(*value);
}

std::optional<std::int64_t> EpochOf(const Exchange& exchange) {
  const std::string_view text = exchange.request().headers.Get(protocol::garden::kEpochHeader);
  if (text.empty()) return std::nullopt;
  const auto epoch = ParseNumber(text);
  if (!epoch || *epoch < 0) {
    throw Failure(ErrorKind::kInvalid,
                  "header " + std::string(protocol::garden::kEpochHeader) + " is no number");
  }
  return epoch;
}

struct StopBody {
  bool kill = false;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("kill", self.kill);
  }
};

struct ValueBody {
  std::string value;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("value", self.value);
  }
};

}  // namespace

const std::vector<GardenServer::Route>& GardenServer::Routes() {
  using G = GardenServer;
  static const std::vector<Route> kRoutes = {
      {"GET", "/ping", &G::Ping},
      {"GET", "/capacity", &G::NotImplemented},
      {"GET", "/containers", &G::List},
      {"POST", "/containers", &G::Create},
      {"GET", "/containers/bulk_info", &G::NotImplemented},
      {"GET", "/containers/bulk_metrics", &G::NotImplemented},
      {"GET", "/containers/:handle/info", &G::NotImplemented},
      {"DELETE", "/containers/:handle", &G::Destroy},
      {"PUT", "/containers/:handle/stop", &G::Stop},
      {"PUT", "/containers/:handle/files", &G::NotImplemented},
      {"GET", "/containers/:handle/files", &G::NotImplemented},
      {"GET", "/containers/:handle/limits/bandwidth", &G::NoLimits},
      {"GET", "/containers/:handle/limits/cpu", &G::CpuLimits},
      {"GET", "/containers/:handle/limits/disk", &G::NoLimits},
      {"GET", "/containers/:handle/limits/memory", &G::MemoryLimits},
      {"POST", "/containers/:handle/net/in", &G::NotImplemented},
      {"POST", "/containers/:handle/net/out", &G::NotImplemented},
      {"POST", "/containers/:handle/net/out/bulk", &G::NotImplemented},
      {"POST", "/containers/:handle/processes", &G::Run},
      {"GET", "/containers/:handle/processes/:pid", &G::Attach},
      {"GET", "/containers/:handle/processes/:pid/attaches/:streamid/stdout", &G::Stdout},
      {"GET", "/containers/:handle/processes/:pid/attaches/:streamid/stderr", &G::Stderr},
      {"GET", "/containers/:handle/processes/:pid/log", &G::Log},
      {"PUT", "/containers/:handle/processes/:pid/log", &G::Acknowledge},
      {"PUT", "/containers/:handle/grace_time", &G::SetGraceTime},
      {"GET", "/containers/:handle/properties", &G::Properties},
      {"GET", "/containers/:handle/properties/:key", &G::Property},
      {"PUT", "/containers/:handle/properties/:key", &G::SetProperty},
      {"DELETE", "/containers/:handle/properties/:key", &G::RemoveProperty},
      {"GET", "/containers/:handle/metrics", &G::NotImplemented},
  };
  return kRoutes;
}

GardenServer::GardenServer(Containers& containers, ThreadPool& pool, Timers& timers, Logger log)
    : containers_(containers), pool_(pool), timers_(timers), log_(std::move(log)) {
  for (std::size_t i = 0; i < Routes().size(); ++i) {
    router_.Add(Routes()[i].method, Routes()[i].pattern, i);
  }
}

Task<void> GardenServer::Dispatch(Exchange& exchange) {
  const http::Request& request = exchange.request();
  auto match = router_.Match(request.method, request.Path());
  if (const auto* found = std::get_if<http::Router::Found>(&match)) {
    co_await (this->*Routes()[found->route].handle)(exchange, found->params);
  } else if (const auto* other = std::get_if<http::Router::MethodNotAllowed>(&match)) {
    co_await exchange.Respond({.status = 405, .headers = {{"Allow", other->allow}}, .body = {}});
  } else {
    co_await Answer(exchange, 404, ToJson(ErrorBody{.message = "no such route"}));
  }
}

Task<void> GardenServer::Handle(Exchange& exchange) {
  std::exception_ptr error;
  try {
    co_await Dispatch(exchange);
  } catch (const Cancelled&) {
    throw;
  } catch (...) {
    error = std::current_exception();
  }
  if (!error) co_return;
  const auto [status, body] = Describe(error);
  if (status >= 500) {
    log_.Info("request failed", {{"method", exchange.request().method},
                                 {"path", std::string(exchange.request().Path())},
                                 {"error", body.message}});
  }
  bool answered = false;
  try {
    co_await Answer(exchange, status, ToJson(body));
    answered = true;
  } catch (const Failure&) {
    // Too late for an answer: the head had gone out, or the client had.
  }
  if (!answered) std::rethrow_exception(error);
}

Task<std::shared_ptr<Container>> GardenServer::Find(Exchange& exchange, const PathParams& params) {
  const std::string handle = params.find("handle")->second;
  auto found = containers_.Find(handle);
  if (!found) {
    throw GardenFailure(
        404,
        {.type = "ContainerNotFoundError", .message = found.error().message, .handle = handle});
  }
  if (const auto epoch = EpochOf(exchange)) co_await (*found)->CheckEpoch(*epoch);
  co_return *found;
}

Task<void> GardenServer::Ping(Exchange& exchange, PathParams) {
  co_await Answer(exchange, 200, JsonObject{{"pinion", JsonObject{{"log_offsets", true}}}});
}

Task<void> GardenServer::List(Exchange& exchange, PathParams) {
  const http::Query query = ValueOrThrow(http::Query::Parse(exchange.request().QueryText()));
  std::map<std::string, std::string> wanted;
  for (const auto& [name, value] : query)
    wanted.emplace(name, value);  // the first value counts
  JsonArray handles;
  for (std::string& handle : containers_.List(wanted))
    handles.emplace_back(std::move(handle));
  co_await Answer(exchange, 200, JsonObject{{"Handles", std::move(handles)}});
}

Task<void> GardenServer::Create(Exchange& exchange, PathParams) {
  ContainerSpec spec = co_await ReadJson<ContainerSpec>(exchange);
  const auto epoch = EpochOf(exchange);
  const auto container = co_await containers_.Create(std::move(spec), exchange.stop(), epoch);
  co_await Answer(exchange, 200, JsonObject{{"Handle", container->handle()}});
}

Task<void> GardenServer::Destroy(Exchange& exchange, PathParams params) {
  const auto container = co_await Find(exchange, params);
  co_await containers_.Destroy(container->handle(), exchange.stop());
  co_await Answer(exchange, 200, JsonObject());
}

Task<void> GardenServer::Stop(Exchange& exchange, PathParams params) {
  const auto container = co_await Find(exchange, params);
  const StopBody body = co_await ReadJson<StopBody>(exchange);
  co_await container->Stop(body.kill, exchange.stop());
  co_await Answer(exchange, 200, JsonObject());
}

Task<void> GardenServer::CpuLimits(Exchange& exchange, PathParams params) {
  const auto container = co_await Find(exchange, params);
  const auto& limits = container->spec().limits.cpu_limits;
  const std::uint32_t shares = limits.weight > 0 ? limits.weight : limits.limit_in_shares;
  JsonObject body;
  if (shares > 0) body.Set("weight", shares);
  co_await Answer(exchange, 200, std::move(body));
}

Task<void> GardenServer::MemoryLimits(Exchange& exchange, PathParams params) {
  const auto container = co_await Find(exchange, params);
  co_await Answer(exchange, 200, ToJson(container->spec().limits.memory_limits));
}

Task<void> GardenServer::NoLimits(Exchange& exchange, PathParams params) {
  co_await Find(exchange, params);
  co_await Answer(exchange, 200, JsonObject());
}

Task<void> GardenServer::SetGraceTime(Exchange& exchange, PathParams params) {
  const auto container = co_await Find(exchange, params);
  const Json body = co_await ReadJson<Json>(exchange);
  if (!body.IsInteger()) {
    throw Failure(ErrorKind::kInvalid, "request body: expected nanoseconds as a number");
  }
  co_await container->SetGraceTime(body.AsInteger());
  co_await Answer(exchange, 200, JsonObject());
}

Task<void> GardenServer::Properties(Exchange& exchange, PathParams params) {
  const auto container = co_await Find(exchange, params);
  co_await Answer(exchange, 200, ToJson(container->state().properties));
}

Task<void> GardenServer::Property(Exchange& exchange, PathParams params) {
  const auto container = co_await Find(exchange, params);
  const std::string key = params.find("key")->second;
  const auto& properties = container->state().properties;
  const auto found = properties.find(key);
  if (found == properties.end()) {
    throw Failure(ErrorKind::kNotFound,
                  "container " + container->handle() + " has no property \"" + key + "\"");
  }
  co_await Answer(exchange, 200, JsonObject{{"value", found->second}});
}

Task<void> GardenServer::SetProperty(Exchange& exchange, PathParams params) {
  const auto container = co_await Find(exchange, params);
  const ValueBody body = co_await ReadJson<ValueBody>(exchange);
  co_await container->SetProperty(params.find("key")->second, body.value);
  co_await Answer(exchange, 200, JsonObject());
}

Task<void> GardenServer::RemoveProperty(Exchange& exchange, PathParams params) {
  const auto container = co_await Find(exchange, params);
  co_await container->RemoveProperty(params.find("key")->second);
  co_await Answer(exchange, 200, JsonObject());
}

Task<void> GardenServer::NotImplemented(Exchange& exchange, PathParams) {
  co_await Answer(exchange, 500, ToJson(ErrorBody{.message = "not implemented"}));
}

}  // namespace pinion::worker
