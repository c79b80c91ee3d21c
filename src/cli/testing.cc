#include "cli/testing.h"

#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/json.h"
#include "linux/fd.h"

namespace pinion::cli {

CannedServer::CannedServer(std::map<std::string, Canned> answers)
    : answers_(std::move(answers)), timers_(MakeSystemTimers(loop_.executor(), clock_)) {
  server_ = http::Server::Make(loop_.executor(), *timers_, Logger(), {},
                               [this](http::Exchange& exchange) { return Answer(exchange); });
  const auto listening = server_->Listen("127.0.0.1:0");
  EXPECT_TRUE(listening);
  port_ = server_->port();
  thread_ = std::thread([this] { loop_.Run(); });
}

CannedServer::~CannedServer() {
  loop_.Stop();
  thread_.join();
  loop_.RunUntilDone(server_->Shutdown(std::chrono::seconds(0)));
}

void CannedServer::Set(const std::string& request, Canned answer) {
  const std::lock_guard lock(mutex_);
  answers_[request] = std::move(answer);
}

std::vector<std::string> CannedServer::TakeRequests() {
  const std::lock_guard lock(mutex_);
  return std::exchange(requests_, {});
}

std::vector<std::string> CannedServer::Tokens() {
  const std::lock_guard lock(mutex_);
  return tokens_;
}

Task<void> CannedServer::Talk(http::Exchange& exchange) {
  const auto socket = co_await exchange.AcceptWebSocket(1 << 20);
  if (!socket) co_return;
  const auto process = co_await socket->Read(exchange.stop());
  if (!process) co_return;
  const auto json = ParseJson(process->data);
  if (json && json->StringAt("path") == "bash") {
    co_await socket->Write({.data = R"({"executable_not_found":true})"}, exchange.stop());
    co_await socket->Close(1000, "");
    co_return;
  }
  // What is typed comes back; the end of the input ends the process.
  for (;;) {
    const auto message = co_await socket->Read(exchange.stop());
    if (!message) co_return;
    const auto input = ParseJson(message->data);
    if (input && input->BoolAt("closed")) break;
    if (!input || input->StringAt("stdin").empty()) continue;
    const std::string echo = ToText(JsonObject{{"stdout", input->StringAt("stdin")}});
    co_await socket->Write({.data = echo}, exchange.stop());
  }
  co_await socket->Write({.data = R"({"stderr":"YnllCg=="})"}, exchange.stop());
  co_await socket->Write({.data = R"({"exit_status":5})"}, exchange.stop());
  co_await socket->Close(1000, "");
}

Task<void> CannedServer::Answer(http::Exchange& exchange) {
  const http::Request& request = exchange.request();
  if (exchange.IsWebSocketUpgrade()) {
    co_await Talk(exchange);
    co_return;
  }
  const auto body = co_await exchange.ReadBody(8 << 20);
  Canned answer{.status = 404, .body = ""};
  {
    const std::lock_guard lock(mutex_);
    const std::string line = request.method + " " + request.target;
    requests_.push_back(line);
    if (body && !body->empty()) requests_.push_back(*body);
    const std::string token(request.headers.Get("Authorization"));
    if (std::ranges::find(tokens_, token) == tokens_.end()) tokens_.push_back(token);
    auto found = answers_.find(line);
    if (found == answers_.end()) {
      found = answers_.find(request.method + " " + std::string(request.Path()));
    }
    if (found != answers_.end()) answer = found->second;
  }
  http::Response response{.status = answer.status, .headers = {}, .body = answer.body};
  response.headers.Set("Content-Type", answer.type);
  for (const auto& [name, value] : answer.headers)
    response.headers.Set(name, value);
  co_await exchange.Respond(std::move(response));
}

Client::Client(const std::string& url) {
  const auto written = WriteFile(home_.path() / ".flyrc",
                                 "targets:\n  x:\n    api: " + url +
                                     "\n    team: main\n    token:\n      type: bearer\n"
                                     "      value: AAAA\n",
                                 0600);
  EXPECT_TRUE(written);
}

std::string Client::FlyRcText() const {
  return ReadFile(home_.path() / ".flyrc").value_or("");
}

Ran Client::Run(const std::vector<std::string>& words, const std::string& input) {
  std::array<int, 2> ends{};
  EXPECT_EQ(::pipe(ends.data()), 0);
  linux::UniqueFd read_end(ends[0]), write_end(ends[1]);
  EXPECT_EQ(::write(write_end.get(), input.data(), input.size()),
            static_cast<ssize_t>(input.size()));
  write_end.Reset();
  const SystemClock clock;
  std::ostringstream out, err;
  Context context{
      .out = out, .err = err, .in = read_end.get(), .clock = clock, .program_name = "fly"};
  context.out_is_terminal = terminal;
  context.colours = terminal;
  context.environment = environment;
  context.environment["FLY_HOME"] = home_.path();
  Ran ran;
  ran.status = cli::Run(context, words);
  ran.out = out.str();
  ran.err = err.str();
  return ran;
}

std::string WithoutColours(const std::string& text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\x1b' && i + 1 < text.size() && text[i + 1] == '[') {
      i = text.find('m', i);
      if (i == std::string::npos) break;
      continue;
    }
    if (text[i] != '\r') plain += text[i];
  }
  return plain;
}

std::map<std::string, Canned> SampleAnswers() {
  std::map<std::string, Canned> answers;
  const auto text = ReadFile(PINION_SOURCE_DIR "/src/cli/testdata/answers.json");
  const auto json = ParseJson(text.value_or(""));
  if (!json) {
    ADD_FAILURE() << "testdata/answers.json: " << json.error().message;
    return answers;
  }
  for (const auto& [request, value] : json->AsObject()) {
    Canned canned{.status = static_cast<int>(value.IntegerAt("status", 200))};
    const Json* body = value.Find("body");
    if (body) canned.body = body->IsString() ? body->AsString() : ToText(*body);
    if (const Json* headers = value.Find("headers")) {
      for (const auto& [name, header] : headers->AsObject())
        canned.headers[name] = header.AsString();
    }
    answers[request] = std::move(canned);
  }
  answers["GET /api/v1/builds/5/events"] = {.body = SampleEvents(), .type = "text/event-stream"};
  answers["GET /api/v1/builds/6/events"] = {
      .body =
          "id: 0\nevent: event\ndata: {\"data\":{},\"event\":\"banana\","
          "\"version\":\"9.0\"}\n\n" +
          SampleEvents(),
      .type = "text/event-stream"};
  return answers;
}

std::string SampleEvents() {
  std::string text;
  int id = 0;
  const auto add = [&](std::string_view name, std::string_view version, std::string_view data) {
    text += "id: " + std::to_string(id++) + "\nevent: event\ndata: {\"data\":" + std::string(data) +
            ",\"event\":\"" + std::string(name) + "\",\"version\":\"" + std::string(version) +
            "\"}\n\n";
  };
  add("status", "1.0", R"({"status":"started","time":1700000000})");
  add("initialize-task", "4.0", R"({"time":1700000001,"origin":{"id":"a"},"config":{}})");
  add("selected-worker", "1.0", R"({"time":1700000001,"selected_worker":"w1"})");
  add("start-task", "5.0",
      R"({"time":1700000002,"config":{"run":{"path":"echo","args":["hello","x"]}}})");
  add("log", "5.1", R"({"time":1700000003,"origin":{"id":"a"},"payload":"hello\nwor"})");
  add("log", "5.1", R"({"time":1700000003,"origin":{"id":"a"},"payload":"ld\n"})");
  add("error", "4.1", R"({"message":"boom","origin":{"id":"a"},"time":1})");
  add("finish-task", "4.0", R"({"time":1700000003,"exit_status":7,"origin":{"id":"a"}})");
  add("status", "1.0", R"({"status":"failed","time":1700000004})");
  return text + "event: end\ndata: {}\n\n";
}

}  // namespace pinion::cli
