#pragma once

#include <cstdint>
#include <stop_token>
#include <string>

#include "archive/byte_stream.h"

namespace pinion::archive {

struct PackOptions {
  /// Taken off every user and group id: for folders that show shifted ids. Ids below it become
  /// 65534.
  std::uint32_t id_offset = 0;
  /// Folders in folders; kTooLarge past it. Each level holds two descriptors.
  std::size_t depth_max = 200;
  /// A fixed time for every entry (unix seconds), for archives that must be equal byte for byte;
  /// negative keeps the files' own times.
  std::int64_t fixed_time = -1;
  /// Symbolic links are packed as what they point to, wherever that is; dangling ones are left out.
  /// Only for folders that the operator named.
  bool follow_links = false;
};

struct Packed {
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;  ///< content read
};

/// Writes the content of `path` below the folder `root` as an uncompressed tar stream (pax where
/// plain headers do not suffice) and finishes `to`. A folder's entries are "./", "./a", "./a/b",
/// sorted by name; a file is one entry with its own name. Hard links, links, FIFOs, owners, modes,
/// times and the attributes `user.*` and `security.capability` are kept; sockets and devices are
/// left out, holes become zeros. Links in `path` are taken as if `root` were "/".
///
/// kNotFound if there is no such path; kConflict when a file shrinks while it is read; Cancelled on
/// stop.
Packed Pack(int root, const std::string& path, ByteSink& to, const PackOptions& options,
            const std::stop_token& stop = {});

}  // namespace pinion::archive
