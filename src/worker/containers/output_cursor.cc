#include "worker/containers/output_cursor.h"

namespace pinion::worker {
namespace {

/// Each piece costs a turn through a thread of the pool.
constexpr std::size_t kChunkBytesMax = 256 << 10;

}  // namespace

OutputCursor::OutputCursor(ThreadPool& pool, std::shared_ptr<Container> container,
                           std::shared_ptr<ContainerProcess> process,
                           std::array<std::optional<std::int64_t>, 2> offsets)
    : pool_(pool),
      container_(std::move(container)),
      process_(std::move(process)),
      offsets_(offsets) {}

Task<std::optional<OutputChunk>> OutputCursor::Next(std::stop_token stop) {
  for (const OutputStream stream : {OutputStream::kStdout, OutputStream::kStderr}) {
    const auto& offset = offsets_[static_cast<std::size_t>(stream)];
    if (offset) container_->Delivered(*process_, stream, *offset);
  }
  while (true) {
    ThrowIfStopped(stop);
    for (const OutputStream stream : {OutputStream::kStdout, OutputStream::kStderr}) {
      const auto index = static_cast<std::size_t>(stream);
      if (!offsets_[index] || *offsets_[index] >= process_->size[index]) continue;
      const std::int64_t from = *offsets_[index];
      const std::size_t limit = static_cast<std::size_t>(
          std::min<std::int64_t>(process_->size[index] - from, kChunkBytesMax));
      struct Piece {
        std::int64_t offset;
        Result<std::string> bytes;
      };
      Piece piece = co_await pool_.Run([folder = process_->folder, stream, from, limit]() -> Piece {
        std::int64_t offset = from;
        auto bytes = ReadOutput(folder, stream, offset, limit);
        return {offset, std::move(bytes)};
      });
      if (!piece.bytes) throw Failure(piece.bytes.error());
      // A file shorter than its supervisor said was cut by somebody: there is nothing to wait for.
      offsets_[index] = piece.bytes->empty() && piece.offset == from
                            ? process_->size[index]
                            : piece.offset + static_cast<std::int64_t>(piece.bytes->size());
      if (piece.bytes->empty()) continue;
      co_return OutputChunk{stream, piece.offset, std::move(*piece.bytes)};
    }
    bool more = false;
    for (std::size_t index = 0; index < 2; ++index) {
      more = more || (offsets_[index] && *offsets_[index] < process_->size[index]);
    }
    if (more) continue;
    if (process_->end) co_return std::nullopt;
    co_await process_->changed.Wait(stop);
  }
}

}  // namespace pinion::worker
