#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "base/json.h"

namespace pinion::cli {

struct Token {
  std::string type;
  std::string value;
  bool empty() const { return type.empty() && value.empty(); }
};

/// A server as the user saved it.
struct SavedTarget {
  std::string api;
  std::string team;  ///< never empty once read
  bool insecure = false;
  std::optional<Token> token;
  std::string ca_cert;  ///< PEM text
  std::string client_cert_path;
  std::string client_key_path;
  JsonObject others;  ///< what other programs wrote there
};

/// The file with the targets, ~/.flyrc: shared with upstream's client. What this program does not
/// know in it stays.
class FlyRc {
 public:
  explicit FlyRc(std::filesystem::path path) : path_(std::move(path)) {}

  /// A missing file has no targets; CommandError if it cannot be read. Unreadable YAML names the
  /// file.
  void Load();
  /// Replaces the file as a whole, mode 0600; a link stays a link.
  void Save() const;

  std::map<std::string, SavedTarget> targets;

 private:
  std::filesystem::path path_;
  JsonObject others_;
};

/// $FLY_HOME/.flyrc, else $HOME/.flyrc. CommandError if neither is set.
std::filesystem::path FlyRcPath(const std::map<std::string, std::string>& environment);

}  // namespace pinion::cli
