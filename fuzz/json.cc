// The JSON codec, and plans as an example of structs with declared fields.
#include "base/json.h"

#include "base/json_fields.h"
#include "fuzz/target.h"
#include "protocol/plan.h"

using namespace pinion;
using fuzz::Require;

namespace {

/// Looking up finds each member, in small objects and hashed ones, also after members went away.
void LookUp(const Json& value) {
  if (value.IsArray()) {
    for (const Json& item : value.AsArray())
      LookUp(item);
  }
  if (!value.IsObject()) return;
  JsonObject object = value.AsObject();
  for (const auto& [name, item] : value.AsObject()) {
    Require(value.Find(name) == &item, "a member is not found by its name", name);
    LookUp(item);
  }
  object.SortByName();
  Require(object == value.AsObject(), "an object's order is part of its value");
  const std::size_t size = object.size();
  if (size > 0) {
    const std::string name = object.begin()->first;
    Require(object.Erase(name) && !object.Find(name) && object.size() == size - 1,
            "a member stayed after it was erased", name);
    Require(!(object == value.AsObject()), "objects are equal that are not");
    object[name] = *value.AsObject().Find(name);
    Require(object == value.AsObject(), "an object differs after a member went and came back");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto value = ParseJson(text);
  Require(!ParseJson(text, {.bytes = 16, .depth = 2}).has_value() || size <= 16,
          "a document over the limit was read");
  if (!value) {
    Require(!value.error().message.empty(), "an error without a message");
    return 0;
  }
  // Whole floats print as integers do, and bytes that are no UTF-8 become U+FFFD: what was printed
  // once stays as it is.
  const std::string printed = ToText(*value);
  const auto again = ParseJson(printed);
  Require(again.has_value(), "what was printed is not read", printed);
  Require(ToText(*again) == printed, "printed and read, printed differently", printed);
  const auto pretty = ParseJson(ToPrettyText(*value));
  Require(pretty.has_value() && *pretty == *again, "the form for people means something else",
          printed);
  Require(*again == *ParseJson(ToText(*again)), "read twice, read differently", printed);
  LookUp(*value);
  Require(value->StringAt("id", "absent") == "absent" || value->IsObject(),
          "a member of what is no object");
  Require(!value->BoolAt("reveal") || value->Find("reveal")->IsBool(), "a text is a boolean");
  Require(value->IntegerAt("limit", 7) == 7 || value->Find("limit")->IsInteger(),
          "a text is an integer", value->TypeName());

  if (auto plan = protocol::ParsePlan(text)) {
    const std::string written = protocol::PlanText(*plan);
    const auto read = protocol::ParsePlan(written);
    Require(read.has_value(), "a plan that was written is not read", written);
    Require(protocol::PlanText(*read) == written, "a plan is written differently", written);
    std::size_t plans = 0;
    protocol::ForEachPlan(*plan, [&plans](protocol::Plan&) { ++plans; });
    Require(plans > 0 && protocol::PublicPlan(*plan).IsObject(), "a plan has no public form");
  }
  return 0;
}
