#pragma once

// Small helpers around libarchive, for the sources of this module only.

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>

#include <exception>
#include <memory>
#include <string>

#include "archive/byte_stream.h"

namespace pinion::archive {

/// libarchive converts pax names to the locale's character set; with anything but UTF-8 it would
/// lose every name that is not ASCII. Sets the calling thread's locale for its life.
class Utf8Locale {
 public:
  Utf8Locale() : locale_(::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)) {
    if (locale_) before_ = ::uselocale(locale_);
  }
  Utf8Locale(const Utf8Locale&) = delete;
  ~Utf8Locale() {
    if (!locale_) return;
    ::uselocale(before_);
    ::freelocale(locale_);
  }

 private:
  locale_t locale_;
  locale_t before_{};
};

struct FreeRead {
  void operator()(::archive* handle) const { ::archive_read_free(handle); }
};
struct FreeWrite {
  void operator()(::archive* handle) const { ::archive_write_free(handle); }
};
struct FreeEntry {
  void operator()(::archive_entry* entry) const { ::archive_entry_free(entry); }
};

inline std::string TarError(::archive* handle) {
  const char* text = ::archive_error_string(handle);
  return text ? text : "unknown reason";
}

}  // namespace pinion::archive
