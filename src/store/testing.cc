#include "store/testing.h"

#include <fcntl.h>
#include <grp.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <filesystem>
#include <mutex>
#include <thread>

namespace pinion::store::testing {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFolderPrefix = "pinion-test-postgres-";

// The folder with initdb and postgres; empty if there is none.
fs::path FindPrograms() {
  for (const char* version : {"17", "16", "15", "14"}) {
    const fs::path folder = fs::path("/usr/lib/postgresql") / version / "bin";
    if (fs::exists(folder / "initdb") && fs::exists(folder / "postgres")) return folder;
  }
  return {};
}

// Forks and executes as the user, who may be the caller's own (no passwd entry given). The child
// dies with this process.
pid_t Spawn(const passwd* user, const std::vector<std::string>& arguments, const fs::path& log) {
  std::vector<char*> raw;
  for (const std::string& argument : arguments)
    raw.push_back(const_cast<char*>(argument.c_str()));
  raw.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child != 0) return child;
  if (user && (::setgid(user->pw_gid) != 0 || ::initgroups(user->pw_name, user->pw_gid) != 0 ||
               ::setuid(user->pw_uid) != 0)) {
    ::_exit(126);
  }
  // After setuid, which clears it. SIGQUIT is PostgreSQL's immediate shutdown.
  ::prctl(PR_SET_PDEATHSIG, SIGQUIT);
  if (::getppid() != parent) ::_exit(126);
  ::setsid();  // a terminal's Ctrl-C is this process's business
  const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (out >= 0) {
    ::dup2(out, 1);
    ::dup2(out, 2);
  }
  if (::chdir("/") != 0) ::_exit(126);
  // Locale and language of whoever runs the tests must not matter.
  ::setenv("LC_ALL", "C.UTF-8", 1);
  ::execv(raw.front(), raw.data());
  ::_exit(127);
}

int WaitFor(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

// Folders of processes that were killed before they could tidy up.
void RemoveStaleFolders() {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(fs::temp_directory_path(), ignored)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kFolderPrefix)) continue;
    pid_t owner = 0;
    const char* digits = name.c_str() + kFolderPrefix.size();
    std::from_chars(digits, name.c_str() + name.size(), owner);
    if (owner > 0 && ::kill(owner, 0) != 0 && errno == ESRCH) fs::remove_all(entry, ignored);
  }
}

class Server {
 public:
  static Server& Get() {
    static Server server;
    return server;
  }
  const std::string& why_not() const { return why_not_; }

  std::string Url(const std::string& database) const {
    return "host=" + folder_->path().string() + " user=pinion dbname=" + database;
  }
  /// One statement on the maintenance database.
  void Execute(const std::string& sql) const {
    struct Close {
      void operator()(PGconn* connection) const { PQfinish(connection); }
    };
    const std::unique_ptr<PGconn, Close> connection(PQconnectdb(Url("postgres").c_str()));
    PGresult* result = PQexec(connection.get(), sql.c_str());
    const ExecStatusType status = PQresultStatus(result);
    PQclear(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
      throw Failure(ErrorKind::kUnavailable,
                    "test server: " + sql + ": " + PQerrorMessage(connection.get()));
    }
  }

 private:
  Server() {
    try {
      Start();
    } catch (const std::exception& error) {
      why_not_ = error.what();
    }
  }
  ~Server() {
    if (postgres_ <= 0 || ::getpid() != owner_) return;
    ::kill(postgres_, SIGQUIT);
    WaitFor(postgres_);
  }

  void Start() {
    const fs::path programs = FindPrograms();
    if (programs.empty()) {
      throw std::runtime_error("PostgreSQL is not installed (Debian: apt install postgresql)");
    }
    RemoveStaleFolders();
    const passwd* user = nullptr;
    if (::geteuid() == 0) {
      user = ::getpwnam("postgres");  // it refuses root
      if (!user) throw std::runtime_error("PostgreSQL does not run as root, no user 'postgres'");
    }
    folder_ = std::make_unique<TemporaryFolder>(std::string(kFolderPrefix) +
                                                std::to_string(::getpid()) + "-");
    const fs::path root = folder_->path();
    if (user && (::chown(root.c_str(), user->pw_uid, user->pw_gid) != 0 ||
                 ::chmod(root.c_str(), 0755) != 0)) {
      throw std::runtime_error("cannot give " + root.string() + " to the user 'postgres'");
    }
    const fs::path log = root / "log";
    const pid_t initdb = Spawn(
        user,
        {(programs / "initdb").string(), "--pgdata=" + (root / "data").string(), "--auth=trust",
         "--username=pinion", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"},
        log);
    if (WaitFor(initdb) != 0) throw std::runtime_error("initdb failed: " + Log(log));
    postgres_ = Spawn(user,
                      {(programs / "postgres").string(),
                       "-D",
                       (root / "data").string(),
                       "-k",
                       root.string(),
                       "-c",
                       "listen_addresses=",
                       "-c",
                       "fsync=off",
                       "-c",
                       "full_page_writes=off",
                       "-c",
                       "max_connections=200",
                       "-c",
                       "shared_buffers=16MB",
                       "-c",
                       "max_wal_size=256MB",
                       "-c",
                       "deadlock_timeout=100ms",
                       "-c",
                       "autovacuum=off"},
                      log);
    owner_ = ::getpid();
    while (PQping(Url("postgres").c_str()) != PQPING_OK) {
      int status = 0;
      if (::waitpid(postgres_, &status, WNOHANG) == postgres_) {
        postgres_ = 0;
        throw std::runtime_error("postgres did not start: " + Log(log));
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  static std::string Log(const fs::path& path) { return ReadFile(path).value_or("no log"); }

  std::unique_ptr<TemporaryFolder> folder_;
  pid_t postgres_ = 0;
  pid_t owner_ = 0;
  std::string why_not_;
};

}  // namespace

bool Available(Dialect dialect, std::string& why_not) {
  if (dialect == Dialect::kPostgres) why_not = Server::Get().why_not();
  return why_not.empty();
}

TestDatabase::TestDatabase(Dialect dialect) : dialect_(dialect) {
  std::string why_not;
  if (!Available(dialect, why_not)) throw Failure(ErrorKind::kUnavailable, why_not);
  if (dialect == Dialect::kSqlite) {
    options_.url = "sqlite:" + (folder_.path() / "database").string();
    return;
  }
  static std::atomic<int> number = 0;
  name_ = "test_" + std::to_string(::getpid()) + "_" + std::to_string(++number);
  Server::Get().Execute("create database " + name_ + " strategy file_copy");
  options_.url = Server::Get().Url(name_);
}

TestDatabase::~TestDatabase() {
  if (name_.empty()) return;
  try {
    Server::Get().Execute("drop database " + name_ + " with (force)");
  } catch (const std::exception&) {
    // The server goes away with the process anyway.
  }
}

std::unique_ptr<Database> TestDatabase::Open(const Clock& clock) const {
  return ValueOrThrow(Database::Open(options_, clock, Logger()));
}

void DatabaseTest::SetUp() {
  std::string why_not;
  if (!Available(GetParam(), why_not)) GTEST_SKIP() << why_not;
  test_database_ = std::make_unique<TestDatabase>(GetParam());
  database_ = test_database_->Open(clock_);
}

void DatabaseTest::TearDown() {
  database_.reset();
  test_database_.reset();
}

void DatabaseTest::Reopen() {
  database_.reset();
  database_ = test_database_->Open(clock_);
}

std::string DialectName(const ::testing::TestParamInfo<Dialect>& info) {
  return info.param == Dialect::kSqlite ? "Sqlite" : "Postgres";
}

void TerminateConnections(const TestDatabase& database) {
  if (database.dialect() != Dialect::kPostgres) return;
  const std::string& url = database.options().url;
  const std::string name = url.substr(url.find("dbname=") + 7);
  Server::Get().Execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = '" +
                        name + "'");
}

}  // namespace pinion::store::testing
