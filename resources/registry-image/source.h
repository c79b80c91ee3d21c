#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_fields.h"
#include "kit/resource.h"
#include "worker/images/registry_client.h"

namespace pinion::resource {

/// What a pipeline says about the platform, in the source or a step's params.
struct PlatformField {
  std::string architecture;
  std::string os;

  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("architecture", self.architecture);
    visit("os", self.os);
  }
};

struct RegistryMirror {
  std::string host;
  std::string username;
  std::string password;

  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("host", self.host);
    visit("username", self.username);
    visit("password", self.password);
  }
};

/// A pipeline's source of the type. AWS and Azure log-ins are refused when
/// they are set.
struct ImageSource {
  std::string repository;
  bool insecure = false;
  bool pre_releases = false;
  std::vector<std::string> pre_release_prefixes;
  std::string variant;
  std::string semver_constraint;
  Json tag;  ///< a text or, as YAML reads them, a number
  std::string tag_regex;
  bool created_at_sort = false;
  std::string annotation_regex;
  std::string label_regex;
  std::string username;
  std::string password;
  std::optional<RegistryMirror> registry_mirror;
  Json content_trust;
  std::vector<std::string> ca_certs;
  std::optional<PlatformField> platform;
  bool debug = false;

  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("repository", self.repository);
    visit("insecure", self.insecure);
    visit("pre_releases", self.pre_releases);
    visit("pre_release_prefixes", self.pre_release_prefixes);
    visit("variant", self.variant);
    visit("semver_constraint", self.semver_constraint);
    visit("tag", self.tag);
    visit("tag_regex", self.tag_regex);
    visit("created_at_sort", self.created_at_sort);
    visit("annotation_regex", self.annotation_regex);
    visit("label_regex", self.label_regex);
    visit("username", self.username);
    visit("password", self.password);
    visit("registry_mirror", self.registry_mirror);
    visit("content_trust", self.content_trust);
    visit("ca_certs", self.ca_certs);
    visit("platform", self.platform);
    visit("debug", self.debug);
  }

  std::string Tag() const;  ///< empty if none is set
};

/// Reads and checks a source; kInvalid names the field that is wrong.
ImageSource ReadSource(const Json& json);

/// Upstream's rule: a step's platform replaces the source's; what is left out is this machine's.
registry::Platform ChoosePlatform(const ImageSource& source,
                                  const std::optional<PlatformField>& of_step);

/// A place that has the images: the mirror, if it applies to the repository, then the origin.
struct Place {
  registry::Repository repository;
  registry::Options options;
  bool mirror = false;
};
std::vector<Place> Places(const ImageSource& source);
/// Where images are pushed to, with the right to push.
Place PushPlace(const ImageSource& source);

/// A version of the type.
struct ImageVersion {
  std::string tag;
  std::string digest;
  Json ToJson() const { return JsonObject{{"tag", tag}, {"digest", digest}}; }
};

JsonObject MetadataField(std::string_view name, std::string_view value);

Json CheckImage(const Request& request);
Json InImage(const Request& request);
Json OutImage(const Request& request);

/// The names that a struct's Fields declare, for RefuseUnknown.
template <class T>
std::vector<std::string_view> FieldNames() {
  std::vector<std::string_view> names;
  T value;
  auto visit = [&](std::string_view name, auto&, FieldRule = FieldRule::kAlways) {
    names.push_back(name);
  };
  T::Fields(value, visit);
  return names;
}

}  // namespace pinion::resource
