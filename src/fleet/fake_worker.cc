#include "fleet/fake_worker.h"

#include <algorithm>

#include "base/encoding.h"
#include "base/text.h"
#include "protocol/garden.h"

namespace pinion::fleet {
namespace {

using protocol::garden::ProcessPayload;

void PutBigEndian(std::string& out, std::uint64_t value, int bytes) {
  for (int i = bytes - 1; i >= 0; --i)
    out += static_cast<char>(value >> (8 * i) & 0xFFU);
}

std::string Frame(int source, std::uint64_t offset, std::string_view bytes) {
  std::string frame(1, static_cast<char>(source));
  PutBigEndian(frame, offset, 8);
  PutBigEndian(frame, bytes.size(), 4);
  frame += bytes;
  return frame;
}

std::vector<std::string> Parts(std::string_view path) {
  std::vector<std::string> parts;
  for (const std::string_view part : Split(path.substr(1), '/')) {
    parts.push_back(PercentDecode(part).value_or(""));
  }
  return parts;
}

constexpr std::string_view kNoContainer =
    R"({"Type":"ContainerNotFoundError","Message":"","Handle":"x"})";
constexpr std::string_view kNoProcess =
    R"({"Type":"ProcessNotFoundError","Message":"unknown process","Handle":"x"})";

}  // namespace

FakeWorker::FakeWorker(Executor executor, Timers& timers, bool pinion) : pinion_(pinion) {
  server_ = http::Server::Make(std::move(executor), timers, Logger(), {},
                               [this](http::Exchange& exchange) { return Handle(exchange); });
  ValueOrThrow(server_->Listen("127.0.0.1:0"));
}

Task<void> FakeWorker::Handle(http::Exchange& exchange) {
  const http::Request& request = exchange.request();
  requests.push_back(request.method + " " + request.target);
  if (request.headers.Has("X-Pinion-Epoch")) {
    last_epoch = std::string(request.headers.Get("X-Pinion-Epoch"));
  }
  if (unavailable_answers > 0) {
    --unavailable_answers;
    co_await Answer(exchange, 503, "starting");
    co_return;
  }
  const std::vector<std::string> parts = Parts(request.Path());
  if (parts[0] == "ping") {
    co_await Answer(exchange, 200, pinion_ ? R"({"pinion":{"log_offsets":true}})" : "{}");
  } else if (parts[0] == "containers") {
    co_await HandleContainer(exchange, parts);
  } else {
    co_await HandleVolume(exchange, parts);
  }
}

Task<void> FakeWorker::HandleContainer(http::Exchange& exchange, std::vector<std::string> parts) {
  const http::Request& request = exchange.request();
  if (parts.size() == 1 && request.method == "POST") {
    auto body = co_await exchange.ReadBody(1 << 20);
    const auto spec = FromText<protocol::garden::ContainerSpec>(*body);
    if (containers.contains(spec->handle)) {
      co_await Answer(exchange, 500, R"({"Type":"","Message":"handle already exists"})");
      co_return;
    }
    containers[spec->handle].properties = spec->properties;
    co_await Answer(exchange, 200, R"({"Handle":"x"})");
    co_return;
  }
  if (parts.size() == 1) {
    JsonArray handles;
    for (const auto& [handle, container] : containers)
      handles.push_back(handle);
    co_await Answer(exchange, 200, ToText(JsonObject{{"Handles", handles}}));
    co_return;
  }
  const std::string& handle = parts[1];
  if (request.method == "DELETE" && stuck.contains(handle)) {
    co_await WaitForChange(exchange.stop());
    co_return;
  }
  if (!containers.contains(handle)) {
    co_await Answer(exchange, 404, std::string(kNoContainer));
  } else if (request.method == "DELETE") {
    containers.erase(handle);
    destroyed.push_back(handle);
    co_await Answer(exchange, 200, "{}");
  } else if (parts[2] == "properties" && parts.size() == 3) {
    co_await Answer(exchange, 200, ToText(ToJson(containers[handle].properties)));
  } else if (parts[2] == "properties") {
    auto body = co_await exchange.ReadBody(1 << 20);
    containers[handle].properties[parts[3]] = ParseJson(*body)->StringAt("value");
    co_await Answer(exchange, 200, "{}");
  } else if (parts[2] == "stop") {
    for (auto& [id, process] : containers[handle].processes)
      process.exit_status = 143;
    Changed();
    co_await Answer(exchange, 200, "{}");
  } else {
    co_await HandleProcess(exchange, handle, parts);
  }
}

Task<void> FakeWorker::HandleProcess(http::Exchange& exchange, std::string handle,
                                     std::vector<std::string> parts) {
  if (parts.size() == 3) {
    co_await Run(exchange, handle);
    co_return;
  }
  auto& processes = containers[handle].processes;
  const auto found = processes.find(parts[3]);
  if (found == processes.end()) {
    co_await Answer(exchange, 404, std::string(kNoProcess));
  } else if (parts.size() == 4) {
    co_await Main(exchange, found->first, found->second, 200);
  } else if (parts[4] == "log") {
    co_await Log(exchange, found->second);
  } else {
    co_await Output(exchange, found->second, parts[6] == "stdout" ? 1 : 2);
  }
}

Task<void> FakeWorker::Run(http::Exchange& exchange, std::string handle) {
  auto body = co_await exchange.ReadBody(1 << 20);
  const auto spec = FromText<protocol::garden::ProcessSpec>(*body);
  if (spec->path == "nonexistent") {
    co_await Answer(exchange, 500,
                    R"({"Type":"ExecutableNotFoundError","Message":"no such executable"})");
    co_return;
  }
  const std::string id = spec->id.empty() ? "generated" : spec->id;
  if (!exchange.request().headers.Get(protocol::garden::kOnceHeader).empty() &&
      containers[handle].processes.contains(id)) {
    co_await Answer(exchange, 409, R"({"Message":"it was started before"})");
    co_return;
  }
  ++started;
  Process& process = containers[handle].processes[id];
  process.spec = *body;
  if (spec->input) {
    process.input = *spec->input;
    process.input_ended = true;
  }
  co_await Main(exchange, id, process, 201);
}

/// The main connection of a process: ids out, input in, the exit status in the end.
Task<void> FakeWorker::Main(http::Exchange& exchange, std::string id, Process& process,
                            int status) {
  http::Response head;
  head.status = status;
  auto stream = co_await exchange.Hijack(std::move(head));
  ProcessPayload ids;
  ids.process_id = id;
  ids.stream_id = "7";
  const std::string line = ToText(ToJson(ids)) + "\n";
  co_await stream->Write(line, {});
  const std::stop_token stop = ending_.get_token();
  http::LineReader lines(*stream, 1 << 20);
  while (status == 201 && !process.input_ended) {
    const auto input = co_await lines.Next(stop);
    if (!input) break;
    const auto payload = FromText<ProcessPayload>(*input);
    if (payload->tty) process.spec += "resized";
    if (payload->data) process.input += *payload->data;
    process.input_ended = payload->source == 0 && !payload->data;
  }
  while (!process.exit_status)
    co_await WaitForChange(stop);
  ProcessPayload end;
  end.process_id = id;
  end.exit_status = process.exit_status;
  const std::string last = ToText(ToJson(end)) + "\n";
  co_await stream->Write(last, stop);
  stream->Close();
}

Task<void> FakeWorker::Output(http::Exchange& exchange, Process& process, int stream_number) {
  auto stream = co_await exchange.Hijack(http::Response{});
  const std::stop_token stop = ending_.get_token();
  const std::string& output = process.output[stream_number - 1];
  std::size_t& position = process.attached[stream_number - 1];
  std::size_t sent = 0;
  for (;;) {
    if (position < output.size()) {
      std::string piece = output.substr(position);
      if (break_after_bytes > 0) piece = piece.substr(0, break_after_bytes - sent);
      position += piece.size();
      sent += piece.size();
      co_await stream->Write(piece, stop);
      if (break_after_bytes > 0 && sent >= break_after_bytes) break;
      continue;
    }
    if (process.exit_status) break;
    co_await WaitForChange(stop);
  }
  stream->Close();
}

Task<void> FakeWorker::Log(http::Exchange& exchange, Process& process) {
  last_acknowledged = std::string(exchange.request().headers.Get("X-Pinion-Acknowledged-Stdout")) +
                      "," +
                      std::string(exchange.request().headers.Get("X-Pinion-Acknowledged-Stderr"));
  if (exchange.request().method == "PUT") {
    co_await Answer(exchange, 200, "{}");
    co_return;
  }
  const auto query = http::Query::Parse(exchange.request().QueryText());
  std::size_t position[2] = {std::stoul(std::string(*query->Get("stdout"))),
                             std::stoul(std::string(*query->Get("stderr")))};
  http::BodyWriter* writer = co_await exchange.Start(http::Response{}, false);
  const std::stop_token stop = ending_.get_token();
  std::size_t left = break_after_bytes > 0 ? break_after_bytes : ~std::size_t{0};
  for (;;) {
    std::string bytes;
    for (int i = 0; i < 2; ++i) {
      while (position[i] < process.output[i].size()) {
        const std::string piece = process.output[i].substr(position[i], 1000);
        bytes += Frame(i + 1, position[i], piece);
        position[i] += piece.size();
      }
    }
    if (bytes.empty() && process.exit_status) {
      bytes = Frame(3, 0, R"({"exit_status":)" + std::to_string(*process.exit_status) + "}");
      co_await writer->Write(bytes, stop);
      break;
    }
    if (bytes.empty()) {
      co_await WaitForChange(stop);
      continue;
    }
    const std::string part = bytes.substr(0, left);
    co_await writer->Write(part, stop);
    left -= part.size();
    if (left == 0) co_return;  // broken off
  }
  co_await writer->Finish(stop);
}

Task<void> FakeWorker::HandleVolume(http::Exchange& exchange, std::vector<std::string> parts) {
  const http::Request& request = exchange.request();
  const auto query = http::Query::Parse(request.QueryText());
  const std::string handle = parts.size() > 1 ? parts[1] : "";
  const auto describe = [](const std::string& name) {
    return JsonObject{{"handle", name}, {"path", "/volumes/" + name}, {"privileged", false}};
  };
  if (parts[0] == "volumes-async") {
    if (request.method == "POST") {
      auto body = co_await exchange.ReadBody(1 << 20);
      const std::string wanted(ParseJson(*body)->StringAt("handle"));
      if (volumes.contains(wanted)) {
        co_await Answer(exchange, 500, R"({"error":"volume exists"})");
        co_return;
      }
      co_await Answer(exchange, 201, ToText(JsonObject{{"handle", wanted}}));
    } else if (request.method == "DELETE") {
      co_await Answer(exchange, 204, "");
    } else if (pending_polls > 0) {
      --pending_polls;
      co_await Answer(exchange, 204, "");
    } else {
      volumes[handle];
      co_await Answer(exchange, 200, ToText(describe(handle)));
    }
    co_return;
  }
  if (parts[0] == "capabilities" && pinion_) {
    co_await Answer(exchange, 200, R"({"registry_image":true})");
    co_return;
  }
  if (parts[0] == "disk" && !disk.empty()) {
    co_await Answer(exchange, 200, disk);
    co_return;
  }
  if (parts[0] != "volumes") {
    co_await Answer(exchange, 404, "");
    co_return;
  }
  if (parts.size() == 1) {
    JsonArray list;
    for (const auto& [name, volume] : volumes)
      list.push_back(describe(name));
    co_await Answer(exchange, 200, ToText(list));
    co_return;
  }
  if (!volumes.contains(handle)) {
    co_await Answer(exchange, 404, R"({"error":"volume not found"})");
    co_return;
  }
  Volume& volume = volumes[handle];
  if (request.method == "DELETE") {
    if (std::ranges::any_of(copy_of, [&](const auto& one) { return one.second == handle; })) {
      co_await Answer(exchange, 409, R"({"error":"1 volumes are copies of it"})");
      co_return;
    }
    copy_of.erase(handle);
    volumes.erase(handle);
    destroyed.push_back(handle);
    co_await Answer(exchange, 204, "");
  } else if (parts.size() == 2) {
    co_await Answer(exchange, 200, ToText(describe(handle)));
  } else if (parts[2] == "stream-in") {
    auto body = co_await exchange.ReadBody(64 << 20);
    volume.files[std::string(*query->Get("path"))] = *body;
    co_await Answer(exchange, 204, "");
  } else if (parts[2] == "stream-out") {
    const auto file = volume.files.find(std::string(*query->Get("path")));
    if (file == volume.files.end()) {
      co_await Answer(exchange, 404, R"({"error":"no such file or directory"})");
      co_return;
    }
    http::BodyWriter* writer = co_await exchange.Start(http::Response{}, false);
    co_await writer->Write(file->second, exchange.stop());
    co_await writer->Finish(exchange.stop());
  } else {
    auto body = co_await exchange.ReadBody(1 << 20);
    volume.privileged = ParseJson(*body)->BoolAt("value");
    co_await Answer(exchange, 204, "");
  }
}

}  // namespace pinion::fleet
