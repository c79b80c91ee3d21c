#include "store/settings.h"

namespace pinion::store {

std::optional<std::string> FindSetting(Transaction& transaction, std::string_view name) {
  const auto row = transaction.QueryOne("select value from settings where name = $1", {name});
  if (!row) return std::nullopt;
  return row->Text(0);
}

void PutSetting(Transaction& transaction, std::string_view name, std::string_view value) {
  transaction.Execute(
      "insert into settings (name, value) values ($1, $2)"
      " on conflict (name) do update set value = excluded.value",
      {name, value});
}

void DeleteSetting(Transaction& transaction, std::string_view name) {
  transaction.Execute("delete from settings where name = $1", {name});
}

std::string SettingOrMade(Transaction& transaction, std::string_view name,
                          const std::function<std::string()>& make) {
  if (auto value = FindSetting(transaction, name)) return *value;
  transaction.Execute(
      "insert into settings (name, value) values ($1, $2) on conflict (name) do nothing",
      {name, make()});
  // Another node may have been first.
  return FindSetting(transaction, name).value();
}

}  // namespace pinion::store
