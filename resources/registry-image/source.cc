#include "registry-image/source.h"

#include "base/text.h"

namespace pinion::resource {
namespace {

// Log-ins that upstream's type has and this one has not (yet).
constexpr std::string_view kCloudFields[] = {
    "aws_access_key_id",   "aws_secret_access_key", "aws_session_token", "aws_region",
    "aws_ecr_registry_id", "aws_role_arn",          "aws_role_arns",     "aws_account_id",
    "azure_acr",           "azure_client_id",       "azure_tenant_id",   "azure_environment"};

registry::Options OptionsOf(const ImageSource& source, const std::string& username,
                            const std::string& password) {
  registry::Options options;
  // Half a pair of credentials is none, as upstream has it.
  if (!username.empty() && !password.empty()) {
    options.username = username;
    options.password = password;
  }
  options.insecure = source.insecure;
  options.ca_certificates = source.ca_certs;
  return options;
}

void RefuseCloudLogins(const Json& json) {
  for (const std::string_view name : kCloudFields) {
    const Json* value = json.Find(name);
    if (!value || value->IsNull() || *value == Json("") || *value == Json(false)) continue;
    throw Failure(ErrorKind::kInvalid,
                  "source." + std::string(name) +
                      ": logging in to AWS and Azure registries is not supported by this "
                      "registry-image type; give username and password, or replace the type by "
                      "a resource_types entry");
  }
}

}  // namespace

std::string ImageSource::Tag() const {
  if (tag.IsNull()) return {};
  return tag.IsString() ? tag.AsString() : ToText(tag);
}

ImageSource ReadSource(const Json& json) {
  std::vector<std::string_view> known = FieldNames<ImageSource>();
  known.insert(known.end(), std::begin(kCloudFields), std::end(kCloudFields));
  RefuseUnknown(json, "source", known);
  const auto nested = [&](std::string_view name, const std::vector<std::string_view>& names) {
    const Json* member = json.Find(name);
    if (member && !member->IsNull()) RefuseUnknown(*member, "source." + std::string(name), names);
  };
  nested("registry_mirror", FieldNames<RegistryMirror>());
  nested("platform", FieldNames<PlatformField>());
  RefuseCloudLogins(json);
  auto source = FromJson<ImageSource>(json);
  if (!source) throw Failure(std::move(source).error().Context("source"));
  if (source->repository.empty()) {
    throw Failure(ErrorKind::kInvalid, "source.repository is required");
  }
  if (!source->tag.IsNull() && !source->tag.IsString() && !source->tag.IsNumber()) {
    throw Failure(ErrorKind::kInvalid, "source.tag must be a string or a number");
  }
  for (const std::string& certificate : source->ca_certs) {
    if (certificate.find("-----BEGIN CERTIFICATE-----") == std::string::npos) {
      throw Failure(ErrorKind::kInvalid, "an entry of source.ca_certs is no PEM certificate");
    }
  }
  return std::move(*source);
}

registry::Platform ChoosePlatform(const ImageSource& source,
                                  const std::optional<PlatformField>& of_step) {
  const PlatformField field = of_step ? *of_step : source.platform.value_or(PlatformField());
  registry::Platform platform;
  if (!field.os.empty()) platform.os = field.os;
  // "arm64/v8" names the variant too.
  const std::size_t slash = field.architecture.find('/');
  platform.architecture = field.architecture.substr(0, slash);
  if (slash != std::string::npos) platform.variant = field.architecture.substr(slash + 1);
  if (platform.architecture.empty()) platform.architecture = registry::MachineArchitecture();
  return platform;
}

std::vector<Place> Places(const ImageSource& source) {
  const auto origin = ValueOrThrow(registry::ParseRepository(source.repository));
  std::vector<Place> places;
  // Only what has no host of its own is mirrored, as docker does it.
  if (source.registry_mirror && origin.host == "index.docker.io") {
    const RegistryMirror& mirror = *source.registry_mirror;
    Place place;
    place.repository.host = mirror.host;
    place.repository.name = origin.name;
    if (mirror.host.empty() || mirror.host.find('/') != std::string::npos) {
      throw Failure(ErrorKind::kInvalid,
                    "source.registry_mirror.host '" + mirror.host + "' is no host name");
    }
    place.options = OptionsOf(source, mirror.username, mirror.password);
    place.mirror = true;
    places.push_back(std::move(place));
  }
  places.push_back({origin, OptionsOf(source, source.username, source.password)});
  return places;
}

Place PushPlace(const ImageSource& source) {
  Place place = Places(source).back();
  place.options.push = true;
  return place;
}

JsonObject MetadataField(std::string_view name, std::string_view value) {
  return JsonObject{{"name", name}, {"value", value}};
}

}  // namespace pinion::resource
