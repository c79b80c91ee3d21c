// The files of build logs: bytes of any kind, and real files that were damaged in one place.
#include "events/log_format.h"

#include "fuzz/target.h"

using namespace pinion;
using fuzz::Require;

namespace {

events::ChunkPointer MakeChunk(std::uint64_t first, std::string_view text) {
  auto chunk = std::make_shared<events::Chunk>(first);
  while (!text.empty()) {
    const std::size_t length = std::min<std::size_t>(text.size(), 1 + (text[0] & 31));
    const std::string_view piece = text.substr(0, length);
    text.remove_prefix(length);
    std::optional<events::Coverage> coverage;
    if ((piece[0] & 1) != 0) {
      coverage = events::Coverage{std::string(1, static_cast<char>('a' + (piece[0] & 3))), 1, 1,
                                  chunk->output_bytes()};
    }
    if ((piece[0] & 2) != 0) {
      chunk->AppendLog({.id = "a", .source = "stdout"}, 7, piece, coverage);
    } else {
      chunk->Append(protocol::StatusEvent(piece, 3), coverage);
    }
  }
  return chunk;
}

/// Whatever a chunk says, reading it stays inside.
void Walk(const events::Chunk& chunk) {
  events::CoverageMap coverage;
  chunk.AddCoverage(coverage);
  std::size_t left = chunk.bytes();
  for (std::uint64_t event = chunk.first_event(); event < chunk.next_event(); ++event) {
    Require(chunk.TextFrom(event).size() == left, "an event does not begin where the last ends");
    const auto item = chunk.ItemAt(event);
    Require(item.envelope.size() <= left, "an event is longer than its chunk");
    const std::size_t next = event + 1 < chunk.next_event() ? chunk.TextFrom(event + 1).size() : 0;
    Require(next <= left, "events go backwards");
    left = next;
  }
}

void ReadAny(std::string_view bytes) {
  const events::Journal journal = events::ReadJournal(bytes, 0);
  Require(journal.valid_bytes <= bytes.size(), "a journal is longer than its file");
  for (const auto& chunk : journal.chunks)
    Walk(*chunk);
  if (const auto header = events::ReadSegmentHeader(bytes)) {
    const std::string_view body = bytes.substr(events::kSegmentHeaderBytes)
                                      .substr(0, header->coverage_bytes + header->data_bytes);
    static_cast<void>(events::ReadSegmentCoverage(*header, body));
    const auto chunk = events::ReadSegmentChunk(*header, body);
    Require(!chunk || events::BodyMatches(*header, body), "a damaged segment is read");
    if (chunk) Walk(*chunk);
  }
  const std::size_t footer = events::FooterBytes(bytes);
  if (footer <= bytes.size()) {
    static_cast<void>(events::ReadFooter(bytes.substr(bytes.size() - footer), 0));
  }
  static_cast<void>(events::ReadFooter(bytes, bytes.size()));
}

/// The table of a chunk has no checksum of its own: what was damaged below it must be found here.
void ReadDamagedTable(const events::Chunk& chunk, std::string_view damage, unsigned at) {
  std::size_t table = 0;
  std::string payload = chunk.Payload(table);
  for (std::size_t i = 0; i < std::min<std::size_t>(damage.size(), 8); ++i) {
    payload[(at * 7 + i) % payload.size()] = damage[i];
  }
  const auto read =
      events::Chunk::FromPayload(std::move(payload), table, chunk.size(), chunk.first_event());
  if (read) Walk(*read);
}

void WriteAndRead(std::string_view text, unsigned cut, unsigned damage) {
  if (text.empty()) return;
  const std::size_t half = std::min<std::size_t>(text.size() - 1, cut * 16);
  std::vector<events::ChunkPointer> chunks{MakeChunk(0, text.substr(half))};
  chunks.push_back(MakeChunk(chunks[0]->next_event(), text.substr(0, half)));
  Walk(*chunks[0]);
  ReadDamagedTable(*chunks[0], text, damage);

  std::string file;
  for (const auto& chunk : chunks)
    events::AppendJournalChunk(file, *chunk);
  const events::Journal journal = events::ReadJournal(file, 0);
  const std::size_t filled = chunks[1]->empty() ? 1 : 2;
  Require(journal.chunks.size() >= 1 && journal.valid_bytes == file.size(),
          "a journal is not read whole");
  Require(journal.chunks.size() <= filled && journal.chunks[0]->text() == chunks[0]->text(),
          "a journal is read differently");
  std::string torn = file.substr(0, file.size() - 1 - damage % file.size());
  for (const auto& chunk : events::ReadJournal(torn, 0).chunks)
    Walk(*chunk);
  file[damage * 31 % file.size()] ^= static_cast<char>(1U << (cut & 7U));
  const events::Journal damaged = events::ReadJournal(file, 0);
  Require(damaged.valid_bytes < file.size(), "a damaged journal is read whole");

  std::string segment;
  events::LogTotals totals;
  events::CoverageMap coverage;
  const auto info = events::AppendSegment(segment, 0, chunks, totals, coverage);
  const auto header = events::ReadSegmentHeader(segment);
  Require(header.has_value() && header->file_bytes == segment.size() &&
              info.file_bytes == segment.size(),
          "a segment's header is not read");
  const std::string_view body = std::string_view(segment).substr(events::kSegmentHeaderBytes);
  const auto chunk = events::ReadSegmentChunk(*header, body);
  Require(chunk.has_value() &&
              chunk->text() == std::string(chunks[0]->text()) + std::string(chunks[1]->text()),
          "a segment is read differently");
  Require(events::ReadSegmentCoverage(*header, body) == coverage, "coverage is read differently");
  std::string with_footer = segment;
  events::AppendFooter(with_footer, {info}, totals);
  const std::size_t bytes = events::FooterBytes(with_footer);
  Require(bytes == with_footer.size() - segment.size(), "a footer is not found");
  const auto footer =
      events::ReadFooter(std::string_view(with_footer).substr(segment.size()), segment.size());
  Require(footer.has_value() && footer->segments.size() == 1 &&
              footer->segments[0].file_bytes == segment.size() &&
              footer->totals.events == totals.events,
          "a footer is read differently");
  with_footer[damage * 31 % with_footer.size()] ^= static_cast<char>(1U << (cut & 7U));
  ReadAny(with_footer);
  ReadAny(std::string_view(with_footer).substr(segment.size()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const unsigned damage = input.Choice(256) * 256 + input.Choice(256);
  const unsigned cut = input.Choice(256);
  ReadAny(input.Rest());
  WriteAndRead(input.Rest(), cut, damage);
  return 0;
}
