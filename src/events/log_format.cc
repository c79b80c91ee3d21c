#include "events/log_format.h"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>

namespace pinion::events {
namespace {

static_assert(std::endian::native == std::endian::little, "the files are little-endian");

constexpr std::uint32_t kJournalMagic = 0x314A4E50;  // "PNJ1"
constexpr std::uint32_t kSegmentMagic = 0x31534E50;  // "PNS1"
constexpr std::uint32_t kFooterMagic = 0x31454E50;   // "PNE1"
constexpr std::size_t kJournalHeaderBytes = 48;
constexpr std::string_view kEnvelopeStart = "\nevent: event\ndata: ";
constexpr std::string_view kEnvelopeEnd = "\n\n";

template <class T>
void Put(std::string& out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out.append(bytes, sizeof(T));
}

void PutText(std::string& out, std::string_view text) {
  Put(out, static_cast<std::uint32_t>(text.size()));
  out += text;
}

std::uint32_t Checksum(std::string_view bytes, std::uint32_t start = 0) {
  return static_cast<std::uint32_t>(
      ::crc32_z(start, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

/// Reads numbers and texts from bytes that may be damaged: once something is missing, everything
/// reads as zero and ok() is false.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  template <class T>
  T Take() {
    T value{};
    if (bytes_.size() < sizeof(T)) {
      ok_ = false;
      return value;
    }
    std::memcpy(&value, bytes_.data(), sizeof(T));
    bytes_.remove_prefix(sizeof(T));
    return value;
  }
  std::string_view TakeText() {
    const auto length = Take<std::uint32_t>();
    if (bytes_.size() < length) {
      ok_ = false;
      return {};
    }
    const std::string_view text = bytes_.substr(0, length);
    bytes_.remove_prefix(length);
    return text;
  }
  bool ok() const { return ok_; }
  std::size_t left() const { return bytes_.size(); }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

void PutCoverage(std::string& out, const Coverage& coverage) {
  PutText(out, coverage.plan_id);
  Put(out, static_cast<std::uint32_t>(coverage.attempt));
  Put(out, static_cast<std::uint32_t>(coverage.stream));
  Put(out, coverage.end);
}

Coverage TakeCoverage(Reader& reader) {
  Coverage coverage;
  coverage.plan_id = std::string(reader.TakeText());
  coverage.attempt = static_cast<int>(reader.Take<std::uint32_t>());
  coverage.stream = static_cast<int>(reader.Take<std::uint32_t>());
  coverage.end = reader.Take<std::uint64_t>();
  return coverage;
}

void Raise(CoverageMap& map, const Coverage& coverage) {
  std::uint64_t& end = map[CoverageKey(coverage.plan_id, coverage.attempt, coverage.stream)];
  end = std::max(end, coverage.end);
}

std::unexpected<Error> Damaged(std::string_view what) {
  return Fail(ErrorKind::kInternal, "damaged: " + std::string(what));
}

void AppendNumber(std::string& out, std::int64_t number) {
  char digits[24];
  const auto result = std::to_chars(std::begin(digits), std::end(digits), number);
  out.append(digits, static_cast<std::size_t>(result.ptr - digits));
}

}  // namespace

// --- Chunk
// ------------------------------------------------------------------------------------------

std::string_view Chunk::EventText(std::size_t index) const {
  const std::size_t begin = index == 0 ? 0 : entries_[index - 1].end;
  return text().substr(begin, entries_[index].end - begin);
}

std::string_view Chunk::TextFrom(std::uint64_t event) const {
  const std::size_t index = event - first_event_;
  return text().substr(index == 0 ? 0 : entries_[index - 1].end);
}

EventBatch::Item Chunk::ItemAt(std::uint64_t event) const {
  const std::size_t index = event - first_event_;
  std::string_view line = EventText(index);
  const std::size_t start = line.find(kEnvelopeStart) + kEnvelopeStart.size();
  line = line.substr(start, line.size() - start - kEnvelopeEnd.size());
  return {event, names_[entries_[index].name], std::string(line)};
}

void Chunk::Begin() {
  storage_ += "id: ";
  AppendNumber(storage_, static_cast<std::int64_t>(next_event()));
  storage_ += kEnvelopeStart;
}

void Chunk::End(std::string_view name, const std::optional<Coverage>& coverage) {
  storage_ += kEnvelopeEnd;
  if (coverage) covered_.push_back({static_cast<std::uint32_t>(entries_.size()), *coverage});
  entries_.push_back({static_cast<std::uint32_t>(storage_.size()), NameIndex(name)});
}

std::uint32_t Chunk::NameIndex(std::string_view name) {
  const auto index = static_cast<std::size_t>(std::ranges::find(names_, name) - names_.begin());
  if (index == names_.size()) names_.emplace_back(name);
  return static_cast<std::uint32_t>(index);
}

void Chunk::Append(const protocol::Event& event, const std::optional<Coverage>& coverage) {
  const std::string envelope = protocol::EnvelopeText(event, next_event());
  Begin();
  storage_ += envelope;
  if (event.name == "log") {
    const std::string_view payload = event.data.StringAt("payload");
    lines_ += static_cast<std::uint64_t>(std::ranges::count(payload, '\n'));
    output_bytes_ += payload.size();
  }
  End(event.name, coverage);
}

void Chunk::AppendLog(const protocol::Origin& origin, std::int64_t time, std::string_view payload,
                      const std::optional<Coverage>& coverage) {
  // The same text as EnvelopeText(LogEvent(…)), without building a JSON tree: this is the path of
  // every byte that a build prints.
  const std::uint64_t id = next_event();
  storage_.reserve(storage_.size() + payload.size() + payload.size() / 16 + 256);
  Begin();
  storage_ += R"({"data":{"time":)";
  AppendNumber(storage_, time);
  storage_ += R"(,"origin":{)";
  if (!origin.id.empty()) {
    storage_ += R"("id":)";
    AppendQuoted(storage_, origin.id);
  }
  if (!origin.source.empty()) {
    storage_ += origin.id.empty() ? R"("source":)" : R"(,"source":)";
    AppendQuoted(storage_, origin.source);
  }
  storage_ += R"(},"payload":)";
  AppendQuoted(storage_, payload);
  storage_ += R"(},"event":"log","version":"5.1","event_id":")";
  AppendNumber(storage_, static_cast<std::int64_t>(id));
  storage_ += R"("})";
  lines_ += static_cast<std::uint64_t>(std::ranges::count(payload, '\n'));
  output_bytes_ += payload.size();
  End("log", coverage);
}

void Chunk::AppendChunk(const Chunk& other) {
  const auto text_start = static_cast<std::uint32_t>(bytes());
  const auto entry_start = static_cast<std::uint32_t>(entries_.size());
  std::vector<std::uint32_t> names;
  for (const std::string& name : other.names_)
    names.push_back(NameIndex(name));
  for (const Entry& entry : other.entries_) {
    entries_.push_back({entry.end + text_start, names[entry.name]});
  }
  for (const Covered& covered : other.covered_) {
    covered_.push_back({covered.entry + entry_start, covered.coverage});
  }
  storage_ += other.text();
  lines_ += other.lines_;
  output_bytes_ += other.output_bytes_;
}

void Chunk::AddCoverage(CoverageMap& map) const {
  for (const Covered& covered : covered_)
    Raise(map, covered.coverage);
}

std::string Chunk::Payload(std::size_t& table_bytes) const {
  std::string out;
  PutPayload(out, table_bytes);
  return out;
}

void Chunk::PutPayload(std::string& out, std::size_t& table_bytes) const {
  out.clear();
  out.reserve(bytes() + entries_.size() * 8 + covered_.size() * 32 + 64);
  Put(out, static_cast<std::uint32_t>(names_.size()));
  for (const std::string& name : names_)
    PutText(out, name);
  for (const Entry& entry : entries_) {
    Put(out, entry.end);
    Put(out, entry.name);
  }
  Put(out, static_cast<std::uint32_t>(covered_.size()));
  for (const Covered& covered : covered_) {
    Put(out, covered.entry);
    PutCoverage(out, covered.coverage);
  }
  table_bytes = out.size();
  out += text();
}

Result<Chunk> Chunk::FromPayload(std::string payload, std::size_t table_bytes, std::size_t count,
                                 std::uint64_t first_event) {
  if (table_bytes > payload.size()) return Damaged("table is longer than its chunk");
  Chunk chunk(first_event);
  Reader reader(std::string_view(payload).substr(0, table_bytes));
  const auto names = reader.Take<std::uint32_t>();
  for (std::uint32_t i = 0; i < names && reader.ok(); ++i) {
    chunk.names_.emplace_back(reader.TakeText());
  }
  if (count > reader.left() / sizeof(Entry)) return Damaged("table is too short");
  chunk.entries_.reserve(count);
  std::uint32_t last = 0;
  for (std::size_t i = 0; i < count; ++i) {
    Entry entry{};
    entry.end = reader.Take<std::uint32_t>();
    entry.name = reader.Take<std::uint32_t>();
    // An event's text is never shorter than what surrounds its envelope.
    if (entry.end < last + kEnvelopeStart.size() + kEnvelopeEnd.size() || entry.name >= names ||
        entry.end > payload.size() - table_bytes) {
      return Damaged("table points outside of its text");
    }
    last = entry.end;
    chunk.entries_.push_back(entry);
  }
  const auto covered = reader.Take<std::uint32_t>();
  for (std::uint32_t i = 0; i < covered && reader.ok(); ++i) {
    const auto entry = reader.Take<std::uint32_t>();
    chunk.covered_.push_back({entry, TakeCoverage(reader)});
  }
  if (!reader.ok()) return Damaged("table is cut off");
  chunk.storage_ = std::move(payload);
  chunk.text_offset_ = table_bytes;
  return chunk;
}

// --- Journal
// ----------------------------------------------------------------------------------------

void AppendJournalChunk(std::string& out, const Chunk& chunk) {
  std::size_t table_bytes = 0;
  const std::string payload = chunk.Payload(table_bytes);
  std::string header;
  Put(header, static_cast<std::uint32_t>(payload.size()));
  Put(header, static_cast<std::uint32_t>(table_bytes));
  Put(header, static_cast<std::uint32_t>(chunk.size()));
  Put(header, std::uint32_t{0});
  Put(header, chunk.first_event());
  Put(header, chunk.lines());
  Put(header, chunk.output_bytes());
  Put(out, kJournalMagic);
  Put(out, Checksum(payload, Checksum(header)));
  out += header;
  out += payload;
}

Journal ReadJournal(std::string_view bytes, std::uint64_t next_event) {
  Journal journal;
  while (bytes.size() >= kJournalHeaderBytes) {
    Reader reader(bytes);
    if (reader.Take<std::uint32_t>() != kJournalMagic) break;
    const auto checksum = reader.Take<std::uint32_t>();
    const auto payload_bytes = reader.Take<std::uint32_t>();
    const auto table_bytes = reader.Take<std::uint32_t>();
    const auto count = reader.Take<std::uint32_t>();
    reader.Take<std::uint32_t>();
    const auto first_event = reader.Take<std::uint64_t>();
    const auto lines = reader.Take<std::uint64_t>();
    const auto output_bytes = reader.Take<std::uint64_t>();
    if (payload_bytes > bytes.size() - kJournalHeaderBytes) break;
    if (Checksum(bytes.substr(8, kJournalHeaderBytes - 8 + payload_bytes)) != checksum) break;
    const std::string_view payload = bytes.substr(kJournalHeaderBytes, payload_bytes);
    const std::size_t chunk_bytes = kJournalHeaderBytes + payload_bytes;
    bytes.remove_prefix(chunk_bytes);
    if (first_event + count <= next_event) {
      journal.valid_bytes += chunk_bytes;
      continue;
    }
    // Segments end where chunks end, so a chunk is in them wholly or not at all.
    if (first_event != next_event) break;
    auto chunk = Chunk::FromPayload(std::string(payload), table_bytes, count, first_event);
    if (!chunk) break;
    chunk->SetCounts(lines, output_bytes);
    next_event = first_event + count;
    journal.chunks.push_back(std::make_shared<const Chunk>(std::move(*chunk)));
    journal.valid_bytes += chunk_bytes;
  }
  return journal;
}

// --- Segments
// ---------------------------------------------------------------------------------------

namespace {

/// What each thread compresses with: made once, because fresh memory costs more than compressing.
struct Compressor {
  std::unique_ptr<ZSTD_CCtx, std::size_t (*)(ZSTD_CCtx*)> context{ZSTD_createCCtx(), ZSTD_freeCCtx};
  std::string payload;
};

Compressor& ThreadCompressor() {
  thread_local Compressor compressor;
  return compressor;
}

Chunk Merged(const std::vector<ChunkPointer>& chunks) {
  Chunk merged(chunks.front()->first_event());
  for (const ChunkPointer& chunk : chunks)
    merged.AppendChunk(*chunk);
  return merged;
}

}  // namespace

SegmentInfo AppendSegment(std::string& out, std::uint64_t file_offset,
                          const std::vector<ChunkPointer>& chunks, LogTotals& totals,
                          CoverageMap& coverage) {
  std::optional<Chunk> several;
  if (chunks.size() > 1) several = Merged(chunks);
  const Chunk& merged = several ? *several : *chunks.front();
  merged.AddCoverage(coverage);
  SegmentInfo info{file_offset, 0, merged.first_event(), totals.lines, totals.bytes};

  std::size_t table_bytes = 0;
  Compressor& compressor = ThreadCompressor();
  std::string& payload = compressor.payload;
  merged.PutPayload(payload, table_bytes);
  std::string body;
  for (const auto& [key, end] : coverage) {
    PutCoverage(body, {std::get<0>(key), std::get<1>(key), std::get<2>(key), end});
  }
  const std::size_t coverage_bytes = body.size();
  std::size_t data_bytes = 0;
  body.resize_and_overwrite(
      coverage_bytes + ZSTD_compressBound(payload.size()), [&](char* room, std::size_t size) {
        data_bytes = ZSTD_compressCCtx(compressor.context.get(), room + coverage_bytes,
                                       size - coverage_bytes, payload.data(), payload.size(),
                                       /*compressionLevel=*/1);
        return ZSTD_isError(data_bytes) ? coverage_bytes : coverage_bytes + data_bytes;
      });
  if (ZSTD_isError(data_bytes)) {
    throw Failure(ErrorKind::kInternal,
                  std::string("compressing a log segment: ") + ZSTD_getErrorName(data_bytes));
  }
  const std::size_t payload_bytes = payload.size();
  // An event of hundreds of megabytes is not a reason to keep as much.
  if (payload.capacity() > 4 * kChunkBytes) payload = {};

  const std::size_t start = out.size();
  Put(out, kSegmentMagic);
  Put(out, static_cast<std::uint32_t>(coverage_bytes));
  Put(out, static_cast<std::uint32_t>(data_bytes));
  Put(out, static_cast<std::uint32_t>(payload_bytes));
  Put(out, static_cast<std::uint32_t>(table_bytes));
  Put(out, static_cast<std::uint32_t>(merged.size()));
  Put(out, info.first_event);
  Put(out, info.first_line);
  Put(out, info.first_byte);
  Put(out, merged.lines());
  Put(out, merged.output_bytes());
  Put(out, Checksum(body));
  Put(out, std::uint32_t{0});
  Put(out, std::uint32_t{0});
  Put(out, Checksum(std::string_view(out).substr(start)));
  out += body;
  info.file_bytes = kSegmentHeaderBytes + body.size();
  totals.events = merged.next_event();
  totals.lines += merged.lines();
  totals.bytes += merged.output_bytes();
  return info;
}

std::optional<SegmentHeader> ReadSegmentHeader(std::string_view bytes) {
  if (bytes.size() < kSegmentHeaderBytes) return std::nullopt;
  bytes = bytes.substr(0, kSegmentHeaderBytes);
  Reader reader(bytes);
  if (reader.Take<std::uint32_t>() != kSegmentMagic) return std::nullopt;
  SegmentHeader header;
  header.coverage_bytes = reader.Take<std::uint32_t>();
  header.data_bytes = reader.Take<std::uint32_t>();
  header.payload_bytes = reader.Take<std::uint32_t>();
  header.table_bytes = reader.Take<std::uint32_t>();
  header.events = reader.Take<std::uint32_t>();
  header.info.first_event = reader.Take<std::uint64_t>();
  header.info.first_line = reader.Take<std::uint64_t>();
  header.info.first_byte = reader.Take<std::uint64_t>();
  header.lines = reader.Take<std::uint64_t>();
  header.output_bytes = reader.Take<std::uint64_t>();
  header.checksum = reader.Take<std::uint32_t>();
  reader.Take<std::uint32_t>();
  reader.Take<std::uint32_t>();
  if (reader.Take<std::uint32_t>() != Checksum(bytes.substr(0, kSegmentHeaderBytes - 4))) {
    return std::nullopt;
  }
  header.file_bytes = kSegmentHeaderBytes + header.coverage_bytes + header.data_bytes;
  header.info.file_bytes = header.file_bytes;
  return header;
}

bool BodyMatches(const SegmentHeader& header, std::string_view body) {
  return body.size() == header.coverage_bytes + header.data_bytes &&
         Checksum(body) == header.checksum;
}

Result<CoverageMap> ReadSegmentCoverage(const SegmentHeader& header, std::string_view body) {
  CoverageMap map;
  Reader reader(body.substr(0, header.coverage_bytes));
  while (reader.ok() && reader.left() > 0)
    Raise(map, TakeCoverage(reader));
  if (!reader.ok()) return Damaged("coverage is cut off");
  return map;
}

Result<Chunk> ReadSegmentChunk(const SegmentHeader& header, std::string_view body) {
  if (!BodyMatches(header, body)) return Damaged("a segment's checksum is wrong");
  if (header.payload_bytes > kPayloadBytesMax) return Damaged("a segment is too large");
  const std::string_view data = body.substr(header.coverage_bytes);
  std::string payload;
  std::size_t size = 0;
  payload.resize_and_overwrite(header.payload_bytes, [&](char* room, std::size_t bytes) {
    size = ZSTD_decompress(room, bytes, data.data(), data.size());
    return ZSTD_isError(size) ? 0 : std::min(size, bytes);
  });
  if (ZSTD_isError(size) || size != header.payload_bytes) {
    return Damaged("a segment does not decompress");
  }
  auto chunk = Chunk::FromPayload(std::move(payload), header.table_bytes, header.events,
                                  header.info.first_event);
  if (chunk) chunk->SetCounts(header.lines, header.output_bytes);
  return chunk;
}

// --- Footer
// -----------------------------------------------------------------------------------------

void AppendFooter(std::string& out, const std::vector<SegmentInfo>& segments,
                  const LogTotals& totals) {
  const std::size_t start = out.size();
  Put(out, kFooterMagic);
  Put(out, static_cast<std::uint32_t>(segments.size()));
  Put(out, totals.events);
  Put(out, totals.lines);
  Put(out, totals.bytes);
  for (const SegmentInfo& segment : segments) {
    Put(out, segment.file_offset);
    Put(out, segment.first_event);
    Put(out, segment.first_line);
    Put(out, segment.first_byte);
  }
  Put(out, Checksum(std::string_view(out).substr(start)));
  Put(out, static_cast<std::uint32_t>(out.size() - start + 8));
  Put(out, kFooterMagic);
}

std::size_t FooterBytes(std::string_view tail) {
  if (tail.size() < kFooterTailBytes) return 0;
  Reader reader(tail.substr(tail.size() - 8));
  const auto bytes = reader.Take<std::uint32_t>();
  return reader.Take<std::uint32_t>() == kFooterMagic ? bytes : 0;
}

std::optional<Footer> ReadFooter(std::string_view bytes, std::uint64_t file_offset) {
  if (bytes.size() < 8 + 24 + kFooterTailBytes) return std::nullopt;
  const std::string_view checked = bytes.substr(0, bytes.size() - kFooterTailBytes);
  Reader tail(bytes.substr(checked.size()));
  if (tail.Take<std::uint32_t>() != Checksum(checked)) return std::nullopt;
  Reader reader(checked);
  if (reader.Take<std::uint32_t>() != kFooterMagic) return std::nullopt;
  Footer footer;
  const auto count = reader.Take<std::uint32_t>();
  footer.totals.events = reader.Take<std::uint64_t>();
  footer.totals.lines = reader.Take<std::uint64_t>();
  footer.totals.bytes = reader.Take<std::uint64_t>();
  if (reader.left() != std::size_t{count} * 32) return std::nullopt;
  for (std::uint32_t i = 0; i < count; ++i) {
    SegmentInfo info;
    info.file_offset = reader.Take<std::uint64_t>();
    info.first_event = reader.Take<std::uint64_t>();
    info.first_line = reader.Take<std::uint64_t>();
    info.first_byte = reader.Take<std::uint64_t>();
    if (!footer.segments.empty()) {
      SegmentInfo& last = footer.segments.back();
      last.file_bytes = info.file_offset - last.file_offset;
    }
    footer.segments.push_back(info);
  }
  if (count > 0) {
    footer.segments.back().file_bytes = file_offset - footer.segments.back().file_offset;
  }
  return footer;
}

}  // namespace pinion::events
