#include "engine/resource_script.h"

namespace pinion::engine {
namespace {

constexpr std::size_t kOutputBytesMax = 16 << 20;
constexpr std::size_t kExcerptBytes = 200;

Error BadOutput(std::string_view path, std::string_view output, const Error& error) {
  std::string message = std::string(path) + " printed no valid result (" + error.message + ")";
  if (output.empty()) {
    message =
        std::string(path) + " printed nothing on standard output, where its result is expected";
  } else {
    message += ": " + std::string(output.substr(0, kExcerptBytes));
    if (output.size() > kExcerptBytes) message += "…";
  }
  return {ErrorKind::kInvalid, std::move(message)};
}

}  // namespace

Task<ScriptEnd> RunScript(LeafContext context, Container container, std::string path,
                          std::vector<std::string> args, Json request,
                          const Interruption& interruption) {
  protocol::garden::ProcessSpec spec{
      .id = "resource", .path = std::move(path), .args = std::move(args)};
  ProcessEnd end = co_await RunAndFollow(
      context.run, context.scope, *container.worker, container.handle, context.plan.id,
      std::move(spec), ToText(request), {.log_stdout = false, .keep_stdout_max = kOutputBytesMax},
      interruption);
  co_return ScriptEnd{.exit_status = end.exit_status, .output = std::move(end.output)};
}

Result<ResourceResult> ParseResourceResult(std::string_view path, std::string_view output) {
  auto result = FromText<ResourceResult>(output, {.bytes = kOutputBytesMax});
  if (!result) return std::unexpected(BadOutput(path, output, result.error()));
  if (!result->version) {
    return std::unexpected(
        BadOutput(path, output, {ErrorKind::kInvalid, "\"version\" is missing or null"}));
  }
  return result;
}

Result<std::vector<protocol::Version>> ParseVersions(std::string_view output) {
  auto result = FromText<std::vector<protocol::Version>>(output, {.bytes = kOutputBytesMax});
  if (!result) {
    return std::unexpected(BadOutput("/opt/resource/check", output, result.error()));
  }
  return result;
}

Task<std::string> SetImage(LeafContext context, const protocol::TypeImage& image,
                           ContainerRequest& request) {
  if (!image.get_plan) {
    request.base_type = image.base_type;
    co_return "";
  }
  const protocol::Plan* check = image.check_plan ? &*image.check_plan : nullptr;
  Artifact artifact = co_await FetchImage(context, check, *image.get_plan);
  std::string content = artifact.content;
  request.artifact = std::move(artifact);
  request.privileged = image.privileged;
  co_return content;
}

}  // namespace pinion::engine
