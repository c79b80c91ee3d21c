#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/json.h"

namespace pinion {

enum class LogLevel { kDebug, kInfo, kWarn, kError, kOff };

std::string_view Name(LogLevel level);
Result<LogLevel> ParseLogLevel(std::string_view name);

struct LogField {
  std::string_view name;
  Json value;
};

/// Where log lines go. Thread-safe; Write never throws and never blocks on anything but the file.
class LogSink {
 public:
  virtual ~LogSink() = default;
  virtual void Write(std::string_view line) noexcept = 0;
};

/// One JSON object a line on a descriptor (standard error by default), whole lines at a time.
class FdLogSink final : public LogSink {
 public:
  explicit FdLogSink(int fd = 2) : fd_(fd) {}
  void Write(std::string_view line) noexcept override;

 private:
  int fd_;
};

/// A logger with the fields of its scope (request, build, team ids). Cheap to copy; copies share
/// the sink and the level. The message is constant text, data goes into fields:
///
///   log.Info("build started", {{"job", job}});
///
/// Secrets never go into fields. Thread-safe.
class Logger {
 public:
  Logger();  // discards everything
  Logger(std::shared_ptr<LogSink> sink, const Clock& clock, LogLevel level);

  /// A logger that adds these fields to every line.
  Logger With(std::initializer_list<LogField> fields) const;
  void SetLevel(LogLevel level);
  LogLevel level() const;

  void Debug(std::string_view message, std::initializer_list<LogField> fields = {}) const;
  void Info(std::string_view message, std::initializer_list<LogField> fields = {}) const;
  void Warn(std::string_view message, std::initializer_list<LogField> fields = {}) const;
  void LogError(std::string_view message, std::initializer_list<LogField> fields = {}) const;

 private:
  struct Shared;
  void Write(LogLevel level, std::string_view message,
             std::initializer_list<LogField> fields) const noexcept;

  std::shared_ptr<Shared> shared_;
  std::string scope_;  // `,"name":value` for every field of the scope
};

}  // namespace pinion
