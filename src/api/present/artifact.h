#pragma once

#include <string>

#include "base/json_fields.h"
#include "store/artifacts.h"

namespace pinion::api::present {

struct Artifact {
  std::int64_t id = 0;
  std::string name;
  std::int64_t build_id = 0;
  std::int64_t created_at = 0;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("id", self.id);
    visit("name", self.name);
    visit("build_id", self.build_id);
    visit("created_at", self.created_at);
  }
};

inline Artifact ToArtifact(const store::ArtifactRow& row) {
  return {.id = row.id.value,
          .name = row.name,
          .build_id = row.build.value,
          .created_at = row.created_at};
}

}  // namespace pinion::api::present
