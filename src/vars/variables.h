#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "vars/reference.h"

namespace pinion::vars {

/// Where the values of vars come from. Implementations answer at once; what has to be asked over a
/// network is fetched first (References() in template.h says what) and put into ResolvedVariables.
class Variables {
 public:
  virtual ~Variables() = default;
  /// The value with its fields followed; nothing if this knows no such var. kInvalid if the value
  /// has no such field, or the source does not exist.
  virtual Result<std::optional<Json>> Get(const Reference& reference) const = 0;
};

/// Follows fields into a value. `reference` is named in errors.
Result<Json> FollowFields(const Json& value, const Reference& reference);

/// Values by name, of references without a source.
class StaticVariables : public Variables {
 public:
  StaticVariables() = default;
  /// The members of an object; no vars for anything else.
  explicit StaticVariables(const Json& object);
  Result<std::optional<Json>> Get(const Reference& reference) const override;

  /// Sets a var, or a field inside one: dotted names merge, later ones win.
  void Set(const Reference& reference, Json value);
  /// All vars as an object.
  Json ToJson() const { return values_; }
  bool empty() const { return values_.empty(); }

 private:
  JsonObject values_;
};

/// Asks one after the other; the first that knows wins. Does not own them.
class LayeredVariables : public Variables {
 public:
  explicit LayeredVariables(std::vector<const Variables*> layers) : layers_(std::move(layers)) {}
  Result<std::optional<Json>> Get(const Reference& reference) const override;

 private:
  std::vector<const Variables*> layers_;
};

/// Values that were fetched beforehand, by the reference without its fields.
class ResolvedVariables : public Variables {
 public:
  void Set(const Reference& reference, Json value);
  bool Has(const Reference& reference) const;
  Result<std::optional<Json>> Get(const Reference& reference) const override;

 private:
  static std::string Key(const Reference& reference);
  std::map<std::string, Json> values_;
};

/// The vars of a running build: ((.:name)), set by load_var and across. Scopes see the vars of the
/// scopes around them and hide theirs. Used by one thread.
class LocalVariables : public Variables {
 public:
  /// `parent` must outlive this; null for the outermost scope.
  explicit LocalVariables(const LocalVariables* parent = nullptr) : parent_(parent) {}
  /// With `secret`, texts inside the value are to be redacted in logs.
  void Set(const std::string& name, Json value, bool secret);
  Result<std::optional<Json>> Get(const Reference& reference) const override;
  /// Texts of all secret values of this scope and those around it.
  std::vector<std::string> SecretTexts() const;

 private:
  struct Value {
    Json json;
    bool secret = false;
  };
  const LocalVariables* parent_;
  std::map<std::string, Value> values_;
};

/// The texts of a value and of its members at any depth: what redaction looks for. Items of lists
/// are left out, as upstream does: they are what `across` goes over, for all to see.
void CollectTexts(const Json& value, std::vector<std::string>& out);

}  // namespace pinion::vars
