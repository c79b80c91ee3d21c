// The time resource: a version whenever an interval has passed, or once a day in a range of time.

#include <time.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "base/clock.h"
#include "base/files.h"
#include "base/text.h"
#include "base/units.h"
#include "kit/resource.h"

namespace pinion::resource {
namespace {

using std::chrono::seconds;

constexpr std::int64_t kDay = 24 * 60 * 60;

/// What the source asks for. Times of day are seconds after midnight in `location`.
struct Schedule {
  std::optional<Duration> interval;
  std::optional<std::int64_t> start;
  std::optional<std::int64_t> stop;
  std::vector<int> days;  ///< 0 is Sunday
  std::optional<tm> start_after;
  bool initial_version = false;
};

/// Sets the process's time zone: localtime and mktime follow it.
void SetLocation(const std::string& location) {
  if (!std::filesystem::exists("/usr/share/zoneinfo/" + location) || location.contains("..")) {
    throw Failure(ErrorKind::kInvalid, "unknown time zone " + location);
  }
  ::setenv("TZ", (":" + location).c_str(), 1);
  ::tzset();
}

tm Local(std::int64_t time) {
  const time_t value = time;
  tm parts{};
  localtime_r(&value, &parts);
  return parts;
}

/// Seconds after midnight of "3:04 PM", "3PM", "15:04", "1504", each with an optional offset.
std::int64_t ParseTimeOfDay(const std::string& text) {
  for (const char* format : {"%I:%M %p", "%I:%M%p", "%I%p", "%I %p", "%H:%M", "%H%M"}) {
    for (const bool with_offset : {true, false}) {
      tm parts{};
      const std::string pattern = std::string(format) + (with_offset ? " %z" : "");
      const char* end = strptime(text.c_str(), pattern.c_str(), &parts);
      if (!end || *end) continue;
      const std::int64_t time =
          parts.tm_hour * 3600 + parts.tm_min * 60 - (with_offset ? parts.tm_gmtoff : 0);
      return (time % kDay + kDay) % kDay;
    }
  }
  throw Failure(ErrorKind::kInvalid,
                "invalid time format: '" + text + "': use 3:04 PM, 3PM, 15:04 or 1504");
}

int ParseDay(const std::string& text) {
  static constexpr std::array<std::string_view, 7> kDays = {
      "sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"};
  const std::string day = ToLower(text);
  for (std::size_t i = 0; i < kDays.size(); ++i) {
    if (day == kDays[i] || day == kDays[i].substr(0, 3)) return static_cast<int>(i);
  }
  throw Failure(ErrorKind::kInvalid, "unknown weekday: '" + text + "'");
}

tm ParseDate(const std::string& text) {
  for (const char* format :
       {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d"}) {
    tm parts{};
    const char* end = strptime(text.c_str(), format, &parts);
    if (end && !*end) return parts;
  }
  throw Failure(ErrorKind::kInvalid,
                "invalid date format: '" + text + "': use 2006-01-02T15:04:05");
}

std::optional<std::string> TextField(const Json& source, std::string_view name) {
  const Json* field = source.Find(name);
  if (!field || field->IsNull()) return std::nullopt;
  if (!field->IsString()) {
    throw Failure(ErrorKind::kInvalid, "'" + std::string(name) + "' must be text: quote it");
  }
  return field->AsString();
}

Schedule ReadSchedule(const Json& source) {
  SetLocation(TextField(source, "location").value_or("UTC"));
  Schedule schedule;
  schedule.initial_version = source.BoolAt("initial_version");
  if (const auto text = TextField(source, "interval")) {
    schedule.interval = ValueOrThrow(ParseDuration(*text));
  }
  if (const auto text = TextField(source, "start")) schedule.start = ParseTimeOfDay(*text);
  if (const auto text = TextField(source, "stop")) schedule.stop = ParseTimeOfDay(*text);
  if (schedule.start.has_value() != schedule.stop.has_value()) {
    throw Failure(ErrorKind::kInvalid, schedule.start ? "must configure 'stop' if 'start' is set"
                                                      : "must configure 'start' if 'stop' is set");
  }
  if (const Json* days = source.Find("days"); days && days->IsArray()) {
    for (const Json& day : days->AsArray()) {
      schedule.days.push_back(ParseDay(day.IsString() ? day.AsString() : ToText(day)));
    }
  }
  if (const auto text = TextField(source, "start_after")) schedule.start_after = ParseDate(*text);
  return schedule;
}

struct Moment {
  std::int64_t time = 0;  ///< unix seconds
  long nanoseconds = 0;
};

/// The time of day on the date of `date`, moved by whole days of the calendar.
std::int64_t OnDay(tm date, std::int64_t time_of_day, int move_days) {
  date.tm_mday += move_days;
  date.tm_hour = static_cast<int>(time_of_day / 3600);
  date.tm_min = static_cast<int>(time_of_day / 60 % 60);
  date.tm_sec = 0;
  date.tm_isdst = -1;
  return mktime(&date);
}

bool IsDue(const Schedule& schedule, std::int64_t now, const std::optional<Moment>& previous) {
  const tm today = Local(now);
  if (!schedule.days.empty() &&
      std::ranges::find(schedule.days, today.tm_wday) == schedule.days.end()) {
    return false;
  }
  if (schedule.start_after) {
    tm parts = *schedule.start_after;
    parts.tm_isdst = -1;
    if (mktime(&parts) >= now) return false;
  }
  const std::int64_t start_of_day = schedule.start.value_or(0);
  std::int64_t start = OnDay(today, start_of_day, 0);
  if (start > now) start = OnDay(today, start_of_day, -1);
  std::int64_t stop = OnDay(Local(start), schedule.stop.value_or(0), 0);
  if (stop <= start) stop = OnDay(Local(start), schedule.stop.value_or(0), 1);
  if (now < start || now >= stop) return false;
  if (!previous) return true;
  if (schedule.interval) {
    return now - previous->time >= std::chrono::floor<seconds>(*schedule.interval).count();
  }
  return previous->time < start;
}

/// ".5" for half a second, without zeros at the end; empty for whole seconds.
std::string FractionText(const Moment& moment) {
  if (moment.nanoseconds == 0) return "";
  std::array<char, 16> buffer;
  std::snprintf(buffer.data(), buffer.size(), ".%09ld", moment.nanoseconds);
  std::string fraction = buffer.data();
  fraction.erase(fraction.find_last_not_of('0') + 1);
  return fraction;
}

/// RFC 3339 with nanoseconds, as upstream's type writes its versions.
std::string ToText(const Moment& moment) {
  const tm parts = Local(moment.time);
  std::array<char, 64> buffer;
  std::string text(buffer.data(),
                   strftime(buffer.data(), buffer.size(), "%Y-%m-%dT%H:%M:%S", &parts));
  text += FractionText(moment);
  if (parts.tm_gmtoff == 0) return text + "Z";
  const long offset = std::abs(parts.tm_gmtoff);
  std::snprintf(buffer.data(), buffer.size(), "%c%02ld:%02ld", parts.tm_gmtoff < 0 ? '-' : '+',
                offset / 3600, offset / 60 % 60);
  return text + buffer.data();
}

Moment ParseMoment(const std::string& text) {
  tm parts{};
  const char* rest = strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  const auto bad = [&] {
    return Failure(ErrorKind::kInvalid, "invalid version time '" + text + "'");
  };
  if (!rest) throw bad();
  Moment moment;
  if (*rest == '.') {
    long scale = 100'000'000;
    for (++rest; *rest >= '0' && *rest <= '9'; ++rest, scale /= 10) {
      moment.nanoseconds += (*rest - '0') * scale;
    }
  }
  tm zone{};
  if (*rest != 'Z') {
    const char* end = strptime(rest, "%z", &zone);
    if (!end || *end) throw bad();
  } else if (rest[1]) {
    throw bad();
  }
  moment.time = timegm(&parts) - zone.tm_gmtoff;
  return moment;
}

Moment Now() {
  const auto now = SystemClock().Now();
  const auto whole = std::chrono::floor<seconds>(now);
  return {whole.time_since_epoch().count(), (now - whole).count()};
}

std::optional<Moment> Previous(const Request& request) {
  const std::string text(request.version.StringAt("time"));
  if (text.empty()) return std::nullopt;
  return ParseMoment(text);
}

Json In(const Request& request) {
  const std::filesystem::path folder = request.folder;
  const Moment moment = Previous(request).value_or(Now());
  const tm parts = Local(moment.time);
  std::array<char, 64> buffer;
  std::string text(buffer.data(),
                   strftime(buffer.data(), buffer.size(), "%Y-%m-%d %H:%M:%S", &parts));
  text += FractionText(moment);
  text.append(buffer.data(), strftime(buffer.data(), buffer.size(), " %z %Z", &parts));
  std::filesystem::create_directories(folder);
  const Json input = JsonObject{{"source", request.source}, {"version", request.version}};
  ValueOrThrow(WriteFile(folder / "input", pinion::ToText(input) + "\n"));
  ValueOrThrow(WriteFile(folder / "timestamp", text));
  ValueOrThrow(WriteFile(folder / "epoch", std::to_string(moment.time)));
  const Json version =
      request.version.IsNull() ? Json(JsonObject{{"time", ToText(moment)}}) : request.version;
  return JsonObject{{"version", version}, {"metadata", JsonArray()}};
}

Json Run(const Request& request) {
  const Schedule schedule = ReadSchedule(request.source);
  if (request.action == "in") return In(request);
  const Moment now = Now();
  const Json current = JsonObject{{"time", ToText(now)}};
  if (request.action == "out") {
    return JsonObject{{"version", current}, {"metadata", JsonArray()}};
  }
  const std::optional<Moment> previous = Previous(request);
  JsonArray versions;
  if (previous) {
    versions.push_back(request.version);
  } else if (schedule.initial_version) {
    versions.push_back(current);
    return versions;
  }
  if (IsDue(schedule, now.time, previous)) versions.push_back(current);
  return versions;
}

}  // namespace
}  // namespace pinion::resource

int main(int argc, char** argv) {
  return pinion::resource::Main(argc, argv, pinion::resource::Run);
}
