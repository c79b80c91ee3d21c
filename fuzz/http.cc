// HTTP/1 as both sides read it: heads, bodies and chunks in pieces of any size; queries; lines.
#include "async/loop.h"
#include "fuzz/target.h"
#include "fuzz/wire.h"
#include "http/head_text.h"
#include "http/message_parser.h"
#include "http/router.h"

using namespace pinion;
using fuzz::Require;

namespace {

constexpr std::size_t kHeaderBytesMax = 2048;

struct Message {
  bool complete = false;
  bool failed = false;
  int status = 0;
  std::string body;
  std::string head;
};

std::string HeadText(const http::MessageHead& head) {
  std::string text = head.method + " " + head.target + " " + std::to_string(head.status) + " " +
                     std::to_string(head.minor_version) + (head.keep_alive ? " keep" : "") +
                     (head.chunked ? " chunked" : "") + "\n";
  for (const auto& [name, value] : head.headers)
    text += name + ": " + value + "\n";
  return text;
}

/// Feeds pieces as a connection does: what was not used is given again with more.
Message Read(std::string_view text, http::MessageParser::Kind kind, bool skip, std::uint32_t seed) {
  const auto parser = http::MessageParser::Make(kind, kHeaderBytesMax);
  if (skip) parser->SkipBody();
  fuzz::Cuts cuts(seed);
  Message message;
  std::size_t given = 0;  // how much of the text the parser was shown
  std::size_t used = 0;
  std::string buffer(seed == 0 ? 8192 : 1 + seed % 50, '\0');
  bool progress = true;
  while (!parser->complete() && (given < text.size() || progress)) {
    if (!progress || used == given) {
      if (given == text.size()) break;
      given += seed == 0 ? text.size() - given : cuts.Next(text.size() - given);
    }
    const auto step = parser->Put(text.substr(used, given - used), buffer);
    if (!step) {
      message.failed = true;
      message.status = step.error().status;
      Require(message.status >= 400 && !step.error().message.empty(), "a refusal without a reason");
      return message;
    }
    Require(step->used <= given - used && step->body_bytes <= buffer.size(),
            "more was used than given");
    used += step->used;
    message.body.append(buffer, 0, step->body_bytes);
    progress = step->used > 0 || step->body_bytes > 0;
  }
  if (!parser->complete()) {
    const auto end = parser->PutEnd();
    message.failed = !end.has_value();
  }
  message.complete = parser->complete();
  if (parser->head_complete()) message.head = HeadText(parser->head());
  Require(message.body.size() <= text.size(), "a body is longer than its message");
  return message;
}

void CheckMessage(std::string_view text, http::MessageParser::Kind kind, bool skip,
                  std::uint32_t seed) {
  const Message whole = Read(text, kind, skip, 0);
  const Message pieces = Read(text, kind, skip, seed);
  Require(whole.complete == pieces.complete && whole.failed == pieces.failed,
          "cut into other pieces, a message has another end", text);
  if (whole.failed) return;
  Require(whole.head == pieces.head, "cut into other pieces, a head differs", text);
  Require(whole.body == pieces.body, "cut into other pieces, a body differs", text);
  if (kind != http::MessageParser::Kind::kRequest || whole.head.empty()) return;
  // What was read is written as one message again: nothing in it can end a line early.
  const auto parser = http::MessageParser::Make(kind, kHeaderBytesMax);
  std::string buffer(8192, '\0');
  if (!parser->Put(text, buffer) || !parser->head_complete()) return;
  http::MessageHead& head = parser->head();
  std::string again =
      head.method + " " + head.target + " HTTP/1." + std::to_string(head.minor_version) + "\r\n";
  http::AppendFields(again, head.headers);
  again += "\r\n";
  if (again.size() > kHeaderBytesMax) return;
  const auto second = http::MessageParser::Make(kind, kHeaderBytesMax);
  Require(second->Put(again, buffer).has_value() && second->head_complete(),
          "a head that was read is not read again", again);
  Require(HeadText(second->head()) == HeadText(head), "a head is read differently", again);
}

void CheckTexts(std::string_view text) {
  if (const auto query = http::Query::Parse(text)) {
    for (const auto& [name, value] : *query) {
      Require(query->Get(name).has_value() && !query->All(name).empty(), "a name is not found");
      static_cast<void>(value);
    }
  }
  Require(!http::HasToken(text, "chunked") || text.size() >= 7, "a token from nothing");
  http::Headers headers{{"a", std::string(text)}};
  std::string out;
  try {
    http::AppendFields(out, headers);
    Require(std::ranges::count(out, '\n') == 1, "a header became two", out);
  } catch (const Failure&) {
    Require(text.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos,
            "a good header is refused", text);
  }
  headers.Set("A", "b");
  Require(headers.Get("a") == "b" && headers.Has("A"), "a header is not replaced");
  Require(!http::ChunkSize(text.size()).empty() && !http::ReasonPhrase(404).empty(), "no texts");
}

Task<std::vector<std::string>> Lines(http::Stream& stream) {
  http::LineReader reader(stream, 300);
  std::vector<std::string> lines;
  while (auto line = co_await reader.Next({}))
    lines.push_back(std::move(*line));
  co_return lines;
}

std::string LinesOf(std::string_view text, std::uint32_t seed) {
  static Loop loop("fuzz");
  std::string written;
  fuzz::Wire wire(text, seed, written);
  try {
    std::string all;
    for (const std::string& line : loop.RunUntilDone(Lines(wire))) {
      Require(line.find('\n') == std::string::npos && line.size() <= 300, "a line holds two");
      all += line + "\n";
    }
    return all;
  } catch (const Failure&) {
    return "too long";
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const unsigned choice = input.Choice(4);
  const std::uint32_t seed = input.Choice(255) + 1;
  const std::string_view text = input.Rest();
  CheckMessage(text, http::MessageParser::Kind::kRequest, false, seed);
  CheckMessage(text, http::MessageParser::Kind::kResponse, choice == 1, seed);
  CheckTexts(text);
  Require(LinesOf(text, 0) == LinesOf(text, seed), "cut into other pieces, lines differ", text);
  return 0;
}
