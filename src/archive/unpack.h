#pragma once

#include <cstdint>
#include <limits>
#include <stop_token>

#include "archive/byte_stream.h"

namespace pinion::archive {

struct UnpackOptions {
  /// Added to every user and group id: for folders that show shifted ids (id-mapped overlays).
  std::uint32_t id_offset = 0;
  /// Ids from here on (before the shift) become 65534, "nobody": they could not be shown.
  std::uint32_t id_count = std::numeric_limits<std::uint32_t>::max() - 1;
  /// Owners are set when the process is root and this is true.
  bool keep_owners = true;

  enum class Devices { kRefuse, kSkip };
  Devices devices = Devices::kRefuse;

  /// ".wh.NAME" and ".wh..wh..opq" become overlayfs' whiteouts and opaque folders (needs root).
  bool oci_whiteouts = false;

  /// ".wh.NAME" and ".wh..wh..opq" remove what was there before this archive, for layers that are
  /// unpacked one after the other into the same folder. Files then also replace full folders, and
  /// links on the way are taken as if the folder were "/", as the image means them.
  bool apply_whiteouts = false;

  // Limits; each is kTooLarge when passed.
  std::uint64_t bytes_max = std::numeric_limits<std::uint64_t>::max();  ///< content of all files
  std::uint64_t entries_max = 20'000'000;
  std::size_t path_bytes_max = 4096;
};

struct Unpacked {
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;  ///< content written
};

/// Unpacks an uncompressed tar stream (ustar, pax, GNU, sparse files) into the folder `root`.
/// Blocks: for a pool's thread. Nothing outside of the folder is made, changed or read, whatever
/// the archive says and whoever changes the folder meanwhile:
///  - absolute paths are taken relative; paths with ".." are refused
///  - symbolic links are kept as they are, and followed on the way to an entry only while they stay
///  below
///    the folder; a file never goes through a link or into a hard link that was there before
///  - hard links only to what is inside
/// Kept: owners, modes with setuid and setgid, times, `user.*` and `security.capability` attributes
/// where the file system takes them; other attributes are dropped, as some steer overlayfs.
/// Existing files are replaced, existing folders stay.
///
/// kInvalid for broken or refused archives, kTooLarge past a limit, Cancelled on stop, else the
/// system's reason; messages name the entry. What was unpacked before a failure stays: unpack into
/// a new folder and rename it.
Unpacked Unpack(ByteSource& tar, int root, const UnpackOptions& options,
                const std::stop_token& stop = {});

}  // namespace pinion::archive
