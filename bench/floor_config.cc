// The floor of set-pipeline: parsing the configuration and one durable transaction with a row for
// each of its things, and nothing else. One line a run: milliseconds.
//
//   floor_config FILE ROWS DATABASE COUNT
#include <sqlite3.h>
#include <unistd.h>
#include <yaml.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iterator>
#include <string>

namespace {

double Milliseconds() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

void Check(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "floor_config: %s\n", what);
  std::exit(1);
}

void Parse(const std::string& text) {
  yaml_parser_t parser;
  yaml_parser_initialize(&parser);
  yaml_parser_set_input_string(&parser, reinterpret_cast<const unsigned char*>(text.data()),
                               text.size());
  for (bool more = true; more;) {
    yaml_event_t event;
    Check(yaml_parser_parse(&parser, &event) == 1, "the configuration is no YAML");
    more = event.type != YAML_STREAM_END_EVENT;
    yaml_event_delete(&event);
  }
  yaml_parser_delete(&parser);
}

void Run(sqlite3* database, const char* sql) {
  Check(sqlite3_exec(database, sql, nullptr, nullptr, nullptr) == SQLITE_OK,
        sqlite3_errmsg(database));
}

void Save(sqlite3* database, const std::string& text, int rows) {
  Run(database, "begin immediate");
  sqlite3_stmt* insert = nullptr;
  sqlite3_prepare_v2(database, "insert into things (name, config) values (?, ?)", -1, &insert,
                     nullptr);
  const std::size_t share = text.size() / static_cast<std::size_t>(rows);
  // One run follows another on the same database.
  static const std::string run = std::to_string(getpid()) + "-";
  static int number = 0;
  for (int i = 0; i < rows; ++i) {
    const std::string name = run + std::to_string(++number);
    sqlite3_bind_text(insert, 1, name.data(), static_cast<int>(name.size()), SQLITE_TRANSIENT);
    sqlite3_bind_text(insert, 2, text.data() + share * static_cast<std::size_t>(i),
                      static_cast<int>(share), SQLITE_STATIC);
    Check(sqlite3_step(insert) == SQLITE_DONE, sqlite3_errmsg(database));
    sqlite3_reset(insert);
  }
  sqlite3_finalize(insert);
  Run(database, "commit");
}

}  // namespace

int main(int count, char** arguments) {
  Check(count == 5, "usage: floor_config FILE ROWS DATABASE COUNT");
  std::ifstream file(arguments[1], std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  sqlite3* database = nullptr;
  Check(sqlite3_open(arguments[3], &database) == SQLITE_OK, "opening the database");
  Run(database,
      "pragma journal_mode = wal; pragma synchronous = full;"
      "create table if not exists things (id integer primary key, name text unique, config text)");
  for (int i = 0; i < std::atoi(arguments[4]); ++i) {
    const double started = Milliseconds();
    Parse(text);
    Save(database, text, std::atoi(arguments[2]));
    std::printf("%.3f\n", Milliseconds() - started);
  }
  sqlite3_close(database);
  return 0;
}
