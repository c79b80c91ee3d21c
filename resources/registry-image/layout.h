#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "archive/byte_stream.h"
#include "worker/images/registry_client.h"

namespace pinion::resource {

inline constexpr std::string_view kOciIndex = "application/vnd.oci.image.index.v1+json";
inline constexpr std::string_view kOciManifest = "application/vnd.oci.image.manifest.v1+json";
inline constexpr int kIndexDepthMax = 4;  ///< indexes in indexes

bool IsIndex(std::string_view media_type);
/// kInvalid if the digest or the size is missing.
registry::Blob ReadDescriptor(const Json& json);

/// A blob on this machine; `open` begins it anew each time.
struct LocalBlob {
  registry::Blob blob;
  std::function<std::unique_ptr<archive::ByteSource>()> open;
};

/// An image or an index of images, with everything that a registry needs to take it.
struct LocalImage {
  std::vector<LocalBlob> blobs;              ///< each once
  std::vector<registry::Manifest> children;  ///< parts come before what names them
  registry::Manifest root;
};

/// Reads an OCI layout's folder, an archive as `docker save` writes it, or an archive of an OCI
/// layout. Failures name the file and what is missing in it.
LocalImage LoadImage(const std::filesystem::path& path);

}  // namespace pinion::resource
