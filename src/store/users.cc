#include "store/users.h"

namespace pinion::store {

void SaveLogin(Transaction& transaction, std::string_view sub, std::string_view username,
               std::string_view connector) {
  transaction.Execute(
      "insert into users (sub, username, connector, last_login) values ($1, $2, $3, $4)"
      " on conflict (sub) do update set username = excluded.username,"
      " connector = excluded.connector, last_login = excluded.last_login",
      {sub, username, connector, transaction.now()});
}

std::vector<UserRow> ListUsersSince(Transaction& transaction, std::int64_t since) {
  std::vector<UserRow> users;
  for (const Row& row : transaction.Query(
           "select id, sub, username, connector, last_login from users where last_login >= $1"
           " order by last_login, id",
           {since})) {
    users.push_back({.id = row.IdAt<UserId>(0),
                     .sub = row.Text(1),
                     .username = row.Text(2),
                     .connector = row.Text(3),
                     .last_login = row.Integer(4)});
  }
  return users;
}

void RevokeToken(Transaction& transaction, std::string_view token_id, std::int64_t expires) {
  transaction.Execute("delete from revoked_tokens where expires < $1", {transaction.now()});
  transaction.Execute(
      "insert into revoked_tokens (id, expires) values ($1, $2) on conflict (id) do nothing",
      {token_id, expires});
  transaction.AppendChange("token.revoked", 0, TeamId{});
}

std::vector<std::string> ListRevokedTokens(Transaction& transaction) {
  std::vector<std::string> ids;
  for (const Row& row : transaction.Query("select id from revoked_tokens where expires >= $1",
                                          {transaction.now()})) {
    ids.push_back(row.Text(0));
  }
  return ids;
}

}  // namespace pinion::store
