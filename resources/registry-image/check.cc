#include <re2/re2.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <exception>
#include <mutex>
#include <thread>

#include "base/text.h"
#include "registry-image/semantic_version.h"
#include "registry-image/source.h"

namespace pinion::resource {
namespace {

constexpr std::size_t kCallsAtOnce = 8;

/// Calls `work` for every index, several at once; the first failure is thrown.
void ForEachAtOnce(std::size_t count, const std::function<void(std::size_t)>& work) {
  std::atomic<std::size_t> next = 0;
  std::mutex mutex;
  std::exception_ptr failed;
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < std::min(count, kCallsAtOnce); ++i) {
      threads.emplace_back([&] {
        for (std::size_t at = 0; (at = next++) < count;) {
          try {
            work(at);
          } catch (...) {
            const std::lock_guard lock(mutex);
            if (!failed) failed = std::current_exception();
            next = count;
          }
        }
      });
    }
  }
  if (failed) std::rethrow_exception(failed);
}

/// "2024-05-06T07:08:09.5Z" as time since 1970; zero if it is none: images without a date come
/// first.
Duration CreatedAt(const std::string& text) {
  int year = 0;
  unsigned month = 0;
  unsigned day = 0;
  int hours = 0;
  int minutes = 0;
  double seconds = 0;
  char zone[8] = "";
  if (std::sscanf(text.c_str(), "%4d-%2u-%2uT%2d:%2d:%lf%7s", &year, &month, &day, &hours, &minutes,
                  &seconds, zone) < 6) {
    return Duration::zero();
  }
  int zone_hours = 0;
  int zone_minutes = 0;
  std::sscanf(zone, "%3d:%2d", &zone_hours, &zone_minutes);
  const std::chrono::sys_days date = std::chrono::year(year) / month / day;
  return date.time_since_epoch() + std::chrono::hours(hours - zone_hours) +
         std::chrono::minutes(zone[0] == '-' ? minutes + zone_minutes : minutes - zone_minutes) +
         std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}

/// A tag and what it stands for; no digest if it vanished meanwhile.
struct TagDigest {
  std::string tag;
  std::optional<SemanticVersion> version;
  std::optional<std::string> digest{};
};

void Resolve(registry::Client& client, std::vector<TagDigest>& tags) {
  ForEachAtOnce(tags.size(), [&](std::size_t i) {
    tags[i].digest = client.ResolveTag(tags[i].tag, std::stop_token());
  });
}

std::vector<ImageVersion> CheckTag(registry::Client& client, const std::string& tag,
                                   const std::optional<ImageVersion>& from) {
  const auto digest = client.ResolveTag(tag, std::stop_token());
  if (!digest) return {};
  std::vector<ImageVersion> versions;
  // The version before stays listed while the registry still has it.
  if (from && from->digest != *digest && registry::IsDigest(from->digest) &&
      client.ResolveTag(from->digest, std::stop_token())) {
    versions.push_back({tag, from->digest});
  }
  versions.push_back({tag, *digest});
  return versions;
}

std::vector<ImageVersion> CheckRegex(registry::Client& client, const ImageSource& source) {
  const RE2 pattern(source.tag_regex, RE2::Quiet);
  if (!pattern.ok()) throw Failure(ErrorKind::kInvalid, "source.tag_regex: " + pattern.error());
  std::vector<TagDigest> tags;
  for (std::string& tag : client.ListTags(std::stop_token())) {
    if (RE2::PartialMatch(tag, pattern)) tags.push_back({std::move(tag), {}});
  }
  Resolve(client, tags);
  std::erase_if(tags, [](const TagDigest& tag) { return !tag.digest; });
  if (source.created_at_sort) {
    const registry::Platform platform = ChoosePlatform(source, std::nullopt);
    std::vector<std::pair<Duration, std::size_t>> order(tags.size());
    ForEachAtOnce(tags.size(), [&](std::size_t i) {
      const registry::Image image = client.GetImage(*tags[i].digest, platform, std::stop_token());
      order[i] = {CreatedAt(std::string(image.config.StringAt("created"))), i};
    });
    std::ranges::sort(order);
    std::vector<TagDigest> sorted;
    for (const auto& [created, index] : order)
      sorted.push_back(std::move(tags[index]));
    tags = std::move(sorted);
  }
  std::vector<ImageVersion> versions;
  for (TagDigest& tag : tags)
    versions.push_back({std::move(tag.tag), std::move(*tag.digest)});
  return versions;
}

/// Which of a repository's tags are versions that the source wants.
class VersionFilter {
 public:
  explicit VersionFilter(const ImageSource& source) : source_(source) {
    if (source.semver_constraint.empty()) return;
    auto constraint = VersionConstraint::Parse(source.semver_constraint);
    if (!constraint) {
      throw Failure(std::move(constraint).error().Context("source.semver_constraint"));
    }
    constraint_ = std::move(*constraint);
  }

  bool constrained() const { return constraint_.has_value(); }

  std::optional<SemanticVersion> Read(std::string_view tag) const {
    if (!source_.variant.empty()) {
      const std::string suffix = "-" + source_.variant;
      if (!tag.ends_with(suffix)) return std::nullopt;
      tag.remove_suffix(suffix.size());
    }
    auto version = ParseSemanticVersion(tag);
    if (!version || (constraint_ && !constraint_->Allows(*version))) return std::nullopt;
    return IsWantedPreRelease(version->pre_release) ? std::move(version) : std::nullopt;
  }

 private:
  // Pre-releases and variants look the same: only known prefixes are the former.
  bool IsWantedPreRelease(std::string_view text) const {
    if (text.empty()) return true;
    if (!source_.pre_releases) return false;
    const auto begins = [&](std::string_view prefix) { return text.starts_with(prefix); };
    const bool usual = begins("alpha") || begins("beta") || begins("rc");
    if (source_.pre_release_prefixes.empty()) {
      return usual && text.find('-') == std::string_view::npos;  // a variant may follow
    }
    return usual || std::ranges::any_of(source_.pre_release_prefixes, begins);
  }

  const ImageSource& source_;
  std::optional<VersionConstraint> constraint_;
};

// Whether the second name for the same image says more.
bool SaysMore(const SemanticVersion& have, const SemanticVersion& other) {
  if (have.pre_release.empty() != other.pre_release.empty()) return other.pre_release.empty();
  return std::ranges::count(other.original, '.') > std::ranges::count(have.original, '.');
}

std::vector<ImageVersion> CheckVersions(registry::Client& client, const ImageSource& source,
                                        const std::optional<ImageVersion>& from) {
  const VersionFilter filter(source);
  const std::string bare_tag = source.variant.empty() ? "latest" : source.variant;
  std::vector<TagDigest> tags;
  std::vector<TagDigest> bare;
  for (std::string& tag : client.ListTags(std::stop_token())) {
    if (tag == bare_tag) {
      bare.push_back({std::move(tag), {}});
    } else if (auto version = filter.Read(tag)) {
      tags.push_back({std::move(tag), std::move(version)});
    }
  }
  // Where the known version is still the same image, older ones need not be asked for.
  const auto known = std::ranges::find_if(
      tags, [&](const TagDigest& tag) { return from && tag.tag == from->tag; });
  if (known != tags.end()) {
    std::rotate(tags.begin(), known, known + 1);
    const TagDigest& first = tags.front();
    if (client.ResolveTag(first.tag, std::stop_token()) == from->digest) {
      const SemanticVersion cursor = *first.version;
      const auto older = std::remove_if(tags.begin() + 1, tags.end(), [&](const TagDigest& tag) {
        return *tag.version <= cursor;
      });
      tags.erase(older, tags.end());
    }
  }
  Resolve(client, tags);
  Resolve(client, bare);

  // One version for each image, by the name that says most.
  std::map<std::string, const TagDigest*> by_digest;
  for (const TagDigest& tag : tags) {
    if (!tag.digest) continue;
    const TagDigest*& best = by_digest[*tag.digest];
    if (!best || SaysMore(*best->version, *tag.version)) best = &tag;
  }
  std::vector<const TagDigest*> chosen;
  for (const TagDigest& tag : tags) {
    if (tag.digest && by_digest[*tag.digest] == &tag) chosen.push_back(&tag);
  }
  std::ranges::sort(chosen, [](const TagDigest* a, const TagDigest* b) {
    const auto order = *a->version <=> *b->version;
    return order != 0 ? order < 0 : a < b;  // equal ones in the registry's order
  });
  std::vector<ImageVersion> versions;
  for (const TagDigest* tag : chosen)
    versions.push_back({tag->tag, *tag->digest});
  if (!bare.empty() && bare.front().digest && !filter.constrained() &&
      !by_digest.contains(*bare.front().digest)) {
    versions.push_back({bare.front().tag, *bare.front().digest});
  }
  return versions;
}

std::vector<ImageVersion> CheckPlace(const Place& place, const ImageSource& source,
                                     const std::optional<ImageVersion>& from) {
  registry::Client client(place.repository, place.options);
  if (const std::string tag = source.Tag(); !tag.empty()) return CheckTag(client, tag, from);
  if (!source.tag_regex.empty()) return CheckRegex(client, source);
  return CheckVersions(client, source, from);
}

}  // namespace

Json CheckImage(const Request& request) {
  const ImageSource source = ReadSource(request.source);
  std::optional<ImageVersion> from;
  if (request.version.IsObject()) {
    from = ImageVersion{std::string(request.version.StringAt("tag")),
                        std::string(request.version.StringAt("digest"))};
  }
  std::vector<ImageVersion> versions;
  for (const Place& place : Places(source)) {
    try {
      versions = CheckPlace(place, source, from);
      if (!versions.empty()) break;
      if (place.mirror) Say("the mirror " + place.repository.Text() + " has no such tag");
    } catch (const Failure& failure) {
      if (!place.mirror) {
        throw Failure(Error(failure.error()).Context("checking " + source.repository));
      }
      Say("checking the mirror " + place.repository.Text() + " failed: " + failure.error().message);
    }
  }
  JsonArray answer;
  for (const ImageVersion& version : versions)
    answer.push_back(version.ToJson());
  return answer;
}

}  // namespace pinion::resource
