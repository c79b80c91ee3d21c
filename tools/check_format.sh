#!/bin/sh
# Names every source that is not formatted as .clang-format says; `make format` mends them.
set -eu
cd "$(dirname "$0")/.."
files=$(git ls-files '*.h' '*.cc')
[ -z "$files" ] && exit 0
# shellcheck disable=SC2086
if ! clang-format-19 --dry-run -Werror $files >build/format.log 2>&1; then
  grep -E 'error:' build/format.log | cut -d: -f1 | sort -u | sed 's/$/: not formatted (make format)/'
  exit 1
fi
echo "format: 0 problems"
