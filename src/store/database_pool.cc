#include "store/database_pool.h"

#include <cstring>

namespace pinion::store {

namespace {

constexpr std::array<std::string_view, 3> kPoolNames = {"api", "engine", "lease"};

// A transaction inside a transaction's closure would wait for itself.
thread_local bool inside_transaction = false;

struct InsideTransaction {
  InsideTransaction() { inside_transaction = true; }
  ~InsideTransaction() { inside_transaction = false; }
};

// The length of the UTF-8 sequence at the start of `text`, 0 if it is none.
std::size_t SequenceLength(std::string_view text) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const auto continues = [&](std::size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  const unsigned first = byte(0);
  if (first < 0x80) return first == 0 ? 0 : 1;
  if (first >= 0xC2 && first <= 0xDF) return continues(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (!continues(1) || !continues(2)) return 0;
    if (first == 0xE0 && byte(1) < 0xA0) return 0;   // overlong
    if (first == 0xED && byte(1) >= 0xA0) return 0;  // surrogates
    return 3;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (!continues(1) || !continues(2) || !continues(3)) return 0;
    if (first == 0xF0 && byte(1) < 0x90) return 0;
    if (first == 0xF4 && byte(1) >= 0x90) return 0;
    return 4;
  }
  return 0;
}

}  // namespace

std::string_view Name(Pool pool) {
  return kPoolNames[static_cast<std::size_t>(pool)];
}

std::string Shortened(std::string_view sql) {
  constexpr std::size_t kLimit = 160;
  std::string out;
  bool space = false;
  for (const char c : sql) {
    if (c == ' ' || c == '\n' || c == '\t' || c == '\r') {
      space = !out.empty();
      continue;
    }
    if (space) out += ' ';
    space = false;
    out += c;
    if (out.size() >= kLimit) return out + "…";
  }
  return out;
}

void CheckStorable(std::string_view text, std::string_view sql) {
  std::size_t at = 0;
  while (at < text.size()) {
    // Most text is ASCII without NUL: eight bytes at a time.
    if (text.size() - at >= 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, text.data() + at, 8);
      constexpr std::uint64_t kHigh = 0x8080808080808080U;
      if ((word & kHigh) == 0 && ((word - 0x0101010101010101U) & kHigh) == 0) {
        at += 8;
        continue;
      }
    }
    const std::size_t length = SequenceLength(text.substr(at));
    if (length == 0) {
      throw Failure(ErrorKind::kInvalid,
                    "text with a NUL or with bytes that are not UTF-8 cannot "
                    "be stored (byte " +
                        std::to_string(at) + ", in: " + Shortened(sql) + ")");
    }
    at += length;
  }
}

void ChangeNotifier::Add(std::function<void()> look) {
  const std::lock_guard lock(mutex_);
  looks_.push_back(std::make_shared<std::function<void()>>(std::move(look)));
}

void ChangeNotifier::Notify() {
  std::unique_lock lock(mutex_);
  const std::uint64_t mine = ++asked_;
  if (server_ == std::this_thread::get_id()) return;  // from within a call: the loop below sees it
  served_.wait(lock, [&] { return server_ == std::thread::id() || answered_ >= mine; });
  if (answered_ >= mine) return;
  server_ = std::this_thread::get_id();
  while (answered_ < asked_) {
    const std::uint64_t round = asked_;
    const auto looks = looks_;
    lock.unlock();
    for (const auto& look : looks) {
      try {
        (*look)();
      } catch (const std::exception& error) {
        log_.LogError("a watcher of the change feed failed", {{"error", error.what()}});
      }
    }
    lock.lock();
    answered_ = round;
    served_.notify_all();
  }
  server_ = {};
  served_.notify_all();
}

PooledDatabase::PooledDatabase(const DatabaseOptions& options, const Clock& clock, Logger log)
    : Database(options.inline_calls),
      options_(options),
      clock_(clock),
      log_(std::move(log)),
      notifier_(std::make_shared<ChangeNotifier>(log_)) {}

PooledDatabase::~PooledDatabase() = default;

void PooledDatabase::Start(bool single) {
  const std::array<int, 3> sizes = {options_.api_connections, options_.engine_connections, 1};
  const auto shared = std::make_shared<Connections>(1);
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    const auto size = single ? std::size_t{1} : static_cast<std::size_t>(std::max(sizes[i], 1));
    groups_[i].connections = single ? shared : std::make_shared<Connections>(size);
    groups_[i].threads = std::make_unique<ThreadPool>(
        "sql-" + std::string(kPoolNames[i]), options_.inline_calls ? 0 : size,
        static_cast<std::size_t>(options_.queue_limit));
  }
}

void PooledDatabase::StopThreads() {
  for (Group& group : groups_)
    group.threads.reset();
  for (Group& group : groups_)
    group.connections.reset();
}

void PooledDatabase::OnChange(std::function<void()> look) {
  notifier_->Add(std::move(look));
}

void PooledDatabase::Run(Pool pool, bool write, const Closure& work, std::stop_token stop) {
  if (inside_transaction) {
    throw Failure(ErrorKind::kInternal, "a transaction was begun inside another one's closure");
  }
  if (stop.stop_requested()) throw Cancelled();
  const std::shared_ptr<Connections> connections = group(pool).connections;
  if (!connections->slots.Acquire(options_.lock_timeout, pool == Pool::kLease, stop)) {
    throw Failure(ErrorKind::kUnavailable, "all database connections of the '" +
                                               std::string(Name(pool)) +
                                               "' pool are busy: try again later");
  }
  const SteadyTime started = clock_.Steady();
  bool changed = false;
  {
    const HeldSlot slot(connections->slots);
    std::unique_ptr<DatabaseConnection> connection;
    {
      const std::lock_guard lock(connections->mutex);
      if (!connections->idle.empty()) {
        connection = std::move(connections->idle.back());
        connections->idle.pop_back();
      }
    }
    if (!connection) connection = Connect(pool);
    const auto put_back = [&] {
      const std::lock_guard lock(connections->mutex);
      connections->idle.push_back(std::move(connection));
    };
    try {
      const InsideTransaction inside;
      changed = connection->Run(write, work, stop);
    } catch (...) {
      put_back();
      throw;
    }
    put_back();
  }
  if (log_.level() == LogLevel::kDebug) {
    const std::chrono::duration<double, std::milli> took = clock_.Steady() - started;
    log_.Debug("transaction", {{"pool", Name(pool)},
                               {"write", write},
                               {"ms", took.count()},
                               {"statements_sent", group(pool).statements.load()}});
  }
  if (changed) Committed();
}

}  // namespace pinion::store
