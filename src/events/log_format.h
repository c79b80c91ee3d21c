#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "events/log_store.h"

/// The bytes of a build's log on disk (docs/decisions/0004-log-segments.md). Nothing here does I/O.
namespace pinion::events {

/// Plan id, attempt and stream.
using CoverageKey = std::tuple<std::string, int, int>;
using CoverageMap = std::map<CoverageKey, std::uint64_t>;

/// Sizes that decide where one piece ends and the next begins, in bytes of event text.
inline constexpr std::size_t kChunkBytes = 256 << 10;
/// No piece of a sane file is larger: what a reader accepts.
inline constexpr std::size_t kPayloadBytesMax = 256 << 20;

/// A run of consecutive events as ready-made text of server-sent events. Immutable once shared;
/// then any thread may read it.
class Chunk {
 public:
  explicit Chunk(std::uint64_t first_event) : first_event_(first_event) {}

  std::uint64_t first_event() const { return first_event_; }
  std::uint64_t next_event() const { return first_event_ + entries_.size(); }
  std::size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }
  std::string_view text() const { return std::string_view(storage_).substr(text_offset_); }
  std::size_t bytes() const { return storage_.size() - text_offset_; }
  std::uint64_t lines() const { return lines_; }
  std::uint64_t output_bytes() const { return output_bytes_; }

  /// The text from this event on to the chunk's end.
  std::string_view TextFrom(std::uint64_t event) const;
  EventBatch::Item ItemAt(std::uint64_t event) const;

  void Append(const protocol::Event& event, const std::optional<Coverage>& coverage);
  void AppendLog(const protocol::Origin& origin, std::int64_t time, std::string_view payload,
                 const std::optional<Coverage>& coverage);
  /// The events of another chunk, which begins where this one ends.
  void AppendChunk(const Chunk& other);
  /// Raises the map's ends by what this chunk's events cover.
  void AddCoverage(CoverageMap& map) const;

  /// The chunk's events with their table, as it is written; `table_bytes` is where the text begins.
  std::string Payload(std::size_t& table_bytes) const;
  /// The same into a text that may have room already.
  void PutPayload(std::string& out, std::size_t& table_bytes) const;
  static Result<Chunk> FromPayload(std::string payload, std::size_t table_bytes, std::size_t count,
                                   std::uint64_t first_event);
  void SetCounts(std::uint64_t lines, std::uint64_t output_bytes) {
    lines_ = lines;
    output_bytes_ = output_bytes;
  }

 private:
  struct Entry {
    std::uint32_t end;   ///< of the event's text
    std::uint32_t name;  ///< index into names_
  };
  struct Covered {
    std::uint32_t entry;
    Coverage coverage;
  };

  void Begin();
  void End(std::string_view name, const std::optional<Coverage>& coverage);
  std::uint32_t NameIndex(std::string_view name);
  std::string_view EventText(std::size_t index) const;

  std::uint64_t first_event_;
  std::vector<Entry> entries_;
  std::vector<std::string> names_;
  std::vector<Covered> covered_;
  std::string storage_;
  std::size_t text_offset_ = 0;
  std::uint64_t lines_ = 0;
  std::uint64_t output_bytes_ = 0;
};

using ChunkPointer = std::shared_ptr<const Chunk>;

/// Where a segment stands in its file and what it holds.
struct SegmentInfo {
  std::uint64_t file_offset = 0;
  std::uint64_t file_bytes =
      0;  ///< with its header; of a segment read from the index, to the next one
  std::uint64_t first_event = 0;
  std::uint64_t first_line = 0;  ///< lines of output before it
  std::uint64_t first_byte = 0;  ///< bytes of output before it
};

/// What comes after the last segment.
struct LogTotals {
  std::uint64_t events = 0;
  std::uint64_t lines = 0;
  std::uint64_t bytes = 0;
};

// --- Journal: uncompressed chunks of the live tail
// ----------------------------------------------------

void AppendJournalChunk(std::string& out, const Chunk& chunk);
struct Journal {
  std::vector<ChunkPointer> chunks;
  std::size_t valid_bytes = 0;  ///< of the file, up to the end of the last of them
};
/// Every chunk up to the first that is torn or does not follow the one before it; chunks that end
/// at or before `next_event` are in segments already and are left out.
Journal ReadJournal(std::string_view bytes, std::uint64_t next_event);

// --- Segments: compressed, immutable
// ------------------------------------------------------------------

/// Appends the chunks as one segment. `totals` and `coverage` are those before it, and after it.
SegmentInfo AppendSegment(std::string& out, std::uint64_t file_offset,
                          const std::vector<ChunkPointer>& chunks, LogTotals& totals,
                          CoverageMap& coverage);
inline constexpr std::size_t kSegmentHeaderBytes = 80;
struct SegmentHeader {
  std::uint64_t file_bytes = 0;  ///< header, coverage and data
  std::size_t coverage_bytes = 0;
  std::size_t data_bytes = 0;
  std::size_t payload_bytes = 0;
  std::size_t table_bytes = 0;
  std::size_t events = 0;
  std::uint64_t lines = 0;
  std::uint64_t output_bytes = 0;
  std::uint32_t checksum = 0;  ///< of coverage and data
  SegmentInfo info;
};
/// Nothing if these bytes are no whole header.
std::optional<SegmentHeader> ReadSegmentHeader(std::string_view bytes);
/// `body` is what follows the header. False if it is not what the header says.
bool BodyMatches(const SegmentHeader& header, std::string_view body);
Result<CoverageMap> ReadSegmentCoverage(const SegmentHeader& header, std::string_view body);
Result<Chunk> ReadSegmentChunk(const SegmentHeader& header, std::string_view body);

// --- The end: an index of the segments, once the log is finished
// ----------------------------------------

void AppendFooter(std::string& out, const std::vector<SegmentInfo>& segments,
                  const LogTotals& totals);
inline constexpr std::size_t kFooterTailBytes = 12;
/// How long the footer is, from the last bytes of the file; 0 if the log has no end.
std::size_t FooterBytes(std::string_view tail);
struct Footer {
  std::vector<SegmentInfo> segments;
  LogTotals totals;
};
std::optional<Footer> ReadFooter(std::string_view bytes, std::uint64_t file_offset);

}  // namespace pinion::events
