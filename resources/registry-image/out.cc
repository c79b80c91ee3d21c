#include <glob.h>

#include <algorithm>
#include <filesystem>

#include "base/files.h"
#include "base/text.h"
#include "registry-image/layout.h"
#include "registry-image/semantic_version.h"
#include "registry-image/source.h"

namespace pinion::resource {
namespace {

namespace fs = std::filesystem;

struct OutParams {
  std::string image;
  std::string version;
  bool bump_aliases = false;
  std::string additional_tags;
  std::string tag_prefix;

  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("image", self.image);
    visit("version", self.version);
    visit("bump_aliases", self.bump_aliases);
    visit("additional_tags", self.additional_tags);
    visit("tag_prefix", self.tag_prefix);
  }
};

OutParams ReadParams(const Json& json) {
  RefuseUnknown(json, "params", FieldNames<OutParams>());
  auto params = FromJson<OutParams>(json);
  if (!params) throw Failure(std::move(params).error().Context("params"));
  if (params->image.empty()) throw Failure(ErrorKind::kInvalid, "params.image is required");
  return std::move(*params);
}

std::string WithVariant(std::string tag, const std::string& variant) {
  return variant.empty() ? tag : tag + "-" + variant;
}

/// "1.2", "1" and "latest", as far as no later version among the registry's tags forbids it.
std::vector<std::string> Aliases(registry::Client& client, const SemanticVersion& version,
                                 const std::string& variant) {
  bool latest = true;
  bool major = true;
  bool minor = true;
  const std::string suffix = WithVariant("", variant);
  for (const std::string& tag : client.ListTags(std::stop_token())) {
    if (!tag.ends_with(suffix)) continue;
    const auto other = ParseSemanticVersion(tag.substr(0, tag.size() - suffix.size()));
    if (!other || !other->pre_release.empty()) continue;
    if (*other > version) latest = false;
    if (other->major != version.major) continue;
    if (other->minor > version.minor) major = false;
    if (other->minor == version.minor && other->patch > version.patch) major = minor = false;
  }
  std::vector<std::string> aliases;
  if (latest) aliases.push_back(variant.empty() ? "latest" : variant);
  const std::string number = std::to_string(version.major);
  if (major) aliases.push_back(WithVariant(number, variant));
  if (minor) aliases.push_back(WithVariant(number + "." + std::to_string(version.minor), variant));
  return aliases;
}

std::vector<std::string> AdditionalTags(const OutParams& params, const fs::path& sources) {
  std::vector<std::string> tags;
  if (!params.additional_tags.empty()) {
    auto text = ReadFile(sources / params.additional_tags, 1 << 20);
    if (!text) throw Failure(std::move(text).error().Context("params.additional_tags"));
    std::ranges::replace_if(*text, [](char c) { return c == '\t' || c == '\r' || c == '\n'; }, ' ');
    for (const std::string_view tag : Split(*text, ' ')) {
      if (!tag.empty()) tags.push_back(params.tag_prefix + std::string(tag));
    }
  }
  if (tags.empty() && !params.tag_prefix.empty()) {
    throw Failure(ErrorKind::kInvalid, "params.tag_prefix is for additional_tags, there are none");
  }
  return tags;
}

std::vector<std::string> TagsToPush(registry::Client& client, const ImageSource& source,
                                    const OutParams& params, const fs::path& sources) {
  std::vector<std::string> tags;
  if (std::string tag = source.Tag(); !tag.empty()) tags.push_back(std::move(tag));
  if (!params.version.empty()) {
    const auto version = ParseSemanticVersion(params.version);
    if (!version) {
      throw Failure(ErrorKind::kInvalid,
                    "params.version '" + params.version.substr(0, 100) + "' is no version");
    }
    tags.push_back(WithVariant(version->Text(), source.variant));
    if (params.bump_aliases && version->pre_release.empty()) {
      std::ranges::move(Aliases(client, *version, source.variant), std::back_inserter(tags));
    }
  }
  std::ranges::move(AdditionalTags(params, sources), std::back_inserter(tags));
  if (tags.empty()) {
    throw Failure(ErrorKind::kInvalid,
                  "there is no tag to push: give params.version, params.additional_tags or "
                  "source.tag");
  }
  return tags;
}

/// The one file or folder that matches.
fs::path FindImage(const std::string& pattern, const fs::path& sources) {
  struct Matches : glob_t {
    ~Matches() { ::globfree(this); }
  } matches{};
  const int status = ::glob((sources / pattern).c_str(), 0, nullptr, &matches);
  if (status == GLOB_NOMATCH || (status == 0 && matches.gl_pathc == 0)) {
    throw Failure(ErrorKind::kNotFound, "no file matches params.image '" + pattern + "'");
  }
  if (status != 0) {
    throw Failure(ErrorKind::kInternal, "params.image '" + pattern + "' cannot be looked up");
  }
  if (matches.gl_pathc > 1) {
    throw Failure(ErrorKind::kInvalid, std::to_string(matches.gl_pathc) +
                                           " files match params.image '" + pattern +
                                           "', there must be one");
  }
  return matches.gl_pathv[0];
}

void Push(registry::Client& client, const LocalImage& image, const std::vector<std::string>& tags) {
  const std::stop_token stop;
  for (const LocalBlob& blob : image.blobs)
    client.PushBlob(blob.blob, blob.open, stop);
  for (const registry::Manifest& child : image.children)
    client.PushManifest(child.digest, child.media_type, child.text, stop);
  for (const std::string& tag : tags)
    client.PushManifest(tag, image.root.media_type, image.root.text, stop);
}

}  // namespace

Json OutImage(const Request& request) {
  const ImageSource source = ReadSource(request.source);
  const OutParams params = ReadParams(request.params);
  if (!source.content_trust.IsNull()) {
    throw Failure(ErrorKind::kInvalid,
                  "source.content_trust: signing is not supported by this registry-image type");
  }
  const fs::path sources = request.folder;
  const Place place = PushPlace(source);
  registry::Client client(place.repository, place.options);
  const std::vector<std::string> tags = TagsToPush(client, source, params, sources);
  const LocalImage image = LoadImage(FindImage(params.image, sources));
  Say("pushing tag(s) " + Join(tags, ", "));
  Push(client, image, tags);
  Say("pushed " + source.repository + "@" + image.root.digest);
  return JsonObject{{"version", ImageVersion{tags.front(), image.root.digest}.ToJson()},
                    {"metadata", JsonArray{MetadataField("repository", source.repository),
                                           MetadataField("tags", Join(tags, " "))}}};
}

}  // namespace pinion::resource
