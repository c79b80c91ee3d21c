#include "base/log.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <ctime>

namespace pinion {

struct Logger::Shared {
  std::shared_ptr<LogSink> sink;
  const Clock* clock;
  std::atomic<LogLevel> level;
};

namespace {

constexpr std::array<std::string_view, 5> kLevelNames = {"debug", "info", "warn", "error", "off"};

void AppendField(std::string& out, const LogField& field) {
  out += ',';
  AppendQuoted(out, field.name);
  out += ':';
  AppendText(out, field.value);
}

void AppendTime(std::string& out, WallTime now) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(now);
  const std::time_t time = std::chrono::system_clock::to_time_t(seconds);
  std::tm parts{};
  gmtime_r(&time, &parts);
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(now - seconds).count();
  std::array<char, 40> text;
  const std::size_t length = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  out.append(text.data(), length);
  const int more = std::snprintf(text.data(), text.size(), ".%06dZ", static_cast<int>(micros));
  out.append(text.data(), static_cast<std::size_t>(more));
}

}  // namespace

std::string_view Name(LogLevel level) {
  return kLevelNames[static_cast<std::size_t>(level)];
}

Result<LogLevel> ParseLogLevel(std::string_view name) {
  for (std::size_t i = 0; i < kLevelNames.size(); ++i) {
    if (kLevelNames[i] == name) return static_cast<LogLevel>(i);
  }
  if (name == "fatal") return LogLevel::kError;  // upstream's highest level
  return Fail(ErrorKind::kInvalid,
              "unknown log level '" + std::string(name) + "': use debug, info, warn, error or off");
}

void FdLogSink::Write(std::string_view line) noexcept {
  while (!line.empty()) {
    const ssize_t written = ::write(fd_, line.data(), line.size());
    if (written <= 0) return;  // nowhere to complain to
    line.remove_prefix(static_cast<std::size_t>(written));
  }
}

Logger::Logger() = default;

Logger::Logger(std::shared_ptr<LogSink> sink, const Clock& clock, LogLevel level)
    : shared_(std::make_shared<Shared>(std::move(sink), &clock, level)) {}

Logger Logger::With(std::initializer_list<LogField> fields) const {
  Logger child = *this;
  for (const LogField& field : fields)
    AppendField(child.scope_, field);
  return child;
}

void Logger::SetLevel(LogLevel level) {
  if (shared_) shared_->level = level;
}

LogLevel Logger::level() const {
  return shared_ ? shared_->level.load() : LogLevel::kOff;
}

void Logger::Debug(std::string_view message, std::initializer_list<LogField> fields) const {
  Write(LogLevel::kDebug, message, fields);
}
void Logger::Info(std::string_view message, std::initializer_list<LogField> fields) const {
  Write(LogLevel::kInfo, message, fields);
}
void Logger::Warn(std::string_view message, std::initializer_list<LogField> fields) const {
  Write(LogLevel::kWarn, message, fields);
}
void Logger::LogError(std::string_view message, std::initializer_list<LogField> fields) const {
  Write(LogLevel::kError, message, fields);
}

void Logger::Write(LogLevel level, std::string_view message,
                   std::initializer_list<LogField> fields) const noexcept try {
  if (!shared_ || level < shared_->level.load(std::memory_order_relaxed)) return;
  std::string line = "{\"time\":\"";
  AppendTime(line, shared_->clock->Now());
  line += "\",\"level\":\"";
  line += Name(level);
  line += "\",\"message\":";
  AppendQuoted(line, message);
  line += scope_;
  for (const LogField& field : fields)
    AppendField(line, field);
  line += "}\n";
  shared_->sink->Write(line);
} catch (...) {
  // Out of memory while logging: losing the line is the lesser harm.
}

}  // namespace pinion
