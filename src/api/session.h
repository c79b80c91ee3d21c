#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "api/job_list.h"
#include "api/services.h"
#include "api/watch_budget.h"
#include "async/thread_pool.h"
#include "identity/access.h"
#include "identity/attempts.h"
#include "identity/token.h"

namespace pinion::api {

/// Knows who is asking: signs and checks tokens, checks passwords, keeps the teams' auth in memory
/// (read again when the change feed moved). On the loop's thread.
class Session {
 public:
  explicit Session(Services& services);

  /// Reads the signing key, which the first start of all nodes makes. Await it before serving.
  Task<void> Start();

  /// What the sender of this Authorization value may do; empty: nobody. Never fails for a bad
  /// token, then has_token is set and authenticated is not.
  Task<identity::Access> AccessOf(std::string authorization);

  struct Login {
    std::string token;
    std::int64_t expires = 0;  ///< unix seconds
  };
  /// Checks a local user's password and makes a token for the client. kUnauthorized for a wrong
  /// one, kTooLarge (429) when there were too many wrong ones from that address or for that name.
  Task<Result<Login>> LogIn(std::string name, std::string password, std::string address,
                            std::string audience);
  /// A token of a worker gateway; kUnauthorized for a wrong secret.
  Result<Login> LogInSystem(const std::string& client, const std::string& secret);
  /// Refuses the token from now on, on every node.
  Task<void> LogOut(identity::Claims claims);

  /// The next request sees what a commit of this process changed in teams or tokens.
  void Refresh() { stale_->store(true); }

  // What requests share beside who asks.
  JobList& job_list() { return job_list_; }
  WatchBudget& watch_budget() { return watch_budget_; }

  const identity::TokenSigner& signer() const { return *signer_; }
  std::int64_t now() const { return services_.clock.UnixSeconds(); }
  /// Audiences whose tokens are accepted.
  std::vector<std::string> Audiences() const;

 private:
  Task<void> Reload();
  Login MakeToken(identity::Claims claims, std::string audience);

  Services& services_;
  std::optional<identity::TokenSigner> signer_;
  ThreadPool passwords_;
  identity::AttemptLimiter attempts_by_place_;
  identity::AttemptLimiter attempts_by_name_;
  std::vector<identity::TeamRecord> teams_;
  std::set<std::string, std::less<>> revoked_;
  /// Shared with the database's callback, which may outlive this.
  std::shared_ptr<std::atomic<bool>> stale_;
  JobList job_list_;
  WatchBudget watch_budget_;
};

/// What identity providers call the user: connector and user id packed as upstream packs them.
std::string SubjectOf(std::string_view user_id, std::string_view connector);

}  // namespace pinion::api
