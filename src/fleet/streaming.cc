#include "fleet/streaming.h"

namespace pinion::fleet {

Task<void> CopyVolume(VolumePlace from, VolumePlace to, std::string encoding,
                      std::stop_token stop) {
  std::optional<Error> error;
  try {
    auto tar = co_await from.worker->StreamOut(from.handle, from.path, encoding, stop);
    co_await to.worker->StreamIn(to.handle, to.path, encoding, *tar, stop);
  } catch (const Failure& failure) {
    error = failure.error();
  }
  if (!error) co_return;
  error->Context("copying volume '" + from.handle + "' of worker '" + from.worker->name() +
                 "' to volume '" + to.handle + "' of worker '" + to.worker->name() + "'");
  throw Failure(*error);
}

}  // namespace pinion::fleet
