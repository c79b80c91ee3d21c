#pragma once

#include <map>
#include <memory>
#include <string>

#include "async/thread_pool.h"
#include "async/timers.h"
#include "base/log.h"
#include "http/router.h"
#include "http/server.h"
#include "worker/containers/containers.h"

namespace pinion::worker {

/// Answers Garden's API (protocol/garden.h) for the containers of this worker: give Handle to an
/// http::Server. Errors have Garden's shape. On the loop's thread.
class GardenServer {
 public:
  GardenServer(Containers& containers, ThreadPool& pool, Timers& timers, Logger log);
  GardenServer(const GardenServer&) = delete;
  GardenServer& operator=(const GardenServer&) = delete;

  Task<void> Handle(http::Exchange& exchange);

 private:
  using Method = Task<void> (GardenServer::*)(http::Exchange&, http::PathParams);
  struct Route {
    const char* method;
    const char* pattern;
    Method handle;
  };
  static const std::vector<Route>& Routes();

  Task<void> Ping(http::Exchange& exchange, http::PathParams params);
  Task<void> List(http::Exchange& exchange, http::PathParams params);
  Task<void> Create(http::Exchange& exchange, http::PathParams params);
  Task<void> Destroy(http::Exchange& exchange, http::PathParams params);
  Task<void> Stop(http::Exchange& exchange, http::PathParams params);
  Task<void> CpuLimits(http::Exchange& exchange, http::PathParams params);
  Task<void> MemoryLimits(http::Exchange& exchange, http::PathParams params);
  Task<void> NoLimits(http::Exchange& exchange, http::PathParams params);
  Task<void> SetGraceTime(http::Exchange& exchange, http::PathParams params);
  Task<void> Properties(http::Exchange& exchange, http::PathParams params);
  Task<void> Property(http::Exchange& exchange, http::PathParams params);
  Task<void> SetProperty(http::Exchange& exchange, http::PathParams params);
  Task<void> RemoveProperty(http::Exchange& exchange, http::PathParams params);
  Task<void> NotImplemented(http::Exchange& exchange, http::PathParams params);
  // garden_processes.cc
  Task<void> Run(http::Exchange& exchange, http::PathParams params);
  Task<void> Attach(http::Exchange& exchange, http::PathParams params);
  Task<void> Stdout(http::Exchange& exchange, http::PathParams params);
  Task<void> Stderr(http::Exchange& exchange, http::PathParams params);
  Task<void> Log(http::Exchange& exchange, http::PathParams params);
  Task<void> Acknowledge(http::Exchange& exchange, http::PathParams params);

  /// The container of the path, after the epoch of the request was found good.
  Task<std::shared_ptr<Container>> Find(http::Exchange& exchange, const http::PathParams& params);
  std::shared_ptr<ContainerProcess> FindProcess(const Container& container,
                                                const http::PathParams& params) const;
  Task<void> Dispatch(http::Exchange& exchange);

  /// One Run or Attach, to whose output a client comes by further connections.
  struct Attachment {
    std::string handle;
    std::shared_ptr<Container> container;
    std::shared_ptr<ContainerProcess> process;
    std::array<std::int64_t, 2> offsets{};
    std::optional<SteadyTime> ended;
  };
  Task<void> Converse(http::Exchange& exchange, int status, std::shared_ptr<Container> container,
                      std::shared_ptr<ContainerProcess> process,
                      std::array<std::int64_t, 2> offsets);
  Task<void> ReadInput(http::Stream& stream, std::shared_ptr<Container> container,
                       std::shared_ptr<ContainerProcess> process, LinkedStop& gone);
  Task<void> StreamOutput(http::Exchange& exchange, http::PathParams params, OutputStream which);
  void ForgetOldAttachments();

  Containers& containers_;
  ThreadPool& pool_;
  Timers& timers_;
  Logger log_;
  http::Router router_;
  std::map<std::string, std::shared_ptr<Attachment>> attachments_;
  std::uint64_t next_attachment_ = 1;
};

/// A failure in Garden's shape, with the status that goes with it.
class GardenFailure : public std::exception {
 public:
  GardenFailure(int status, protocol::garden::ErrorBody body)
      : status_(status), body_(std::move(body)) {}
  const char* what() const noexcept override { return body_.message.c_str(); }
  int status() const { return status_; }
  const protocol::garden::ErrorBody& body() const { return body_; }

 private:
  int status_;
  protocol::garden::ErrorBody body_;
};

}  // namespace pinion::worker
