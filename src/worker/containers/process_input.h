#pragma once

#include <memory>
#include <string_view>

#include "protocol/garden.h"
#include "worker/containers/container.h"

namespace pinion::worker {

/// Gives one process the input of one client. On the loop's thread.
class ProcessInput {
 public:
  ProcessInput(std::shared_ptr<Container> container, std::shared_ptr<ContainerProcess> process)
      : container_(std::move(container)), process_(std::move(process)) {}

  /// Writes all of it, as fast as the process reads; what a process does not want is dropped.
  Task<void> Write(std::string bytes, std::stop_token stop);
  /// The end of the input; a terminal gets its end-of-file character.
  Task<void> End(std::stop_token stop);
  Task<void> Resize(protocol::garden::WindowSize size, std::stop_token stop);

 private:
  std::shared_ptr<Container> container_;
  std::shared_ptr<ContainerProcess> process_;
};

}  // namespace pinion::worker
