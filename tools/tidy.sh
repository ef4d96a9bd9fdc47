#!/usr/bin/env bash
# Runs clang-tidy-19 over every source that is not a test, two at a time. A file whose text, flags and headers have not
# changed since it last passed is not read again (the stamps lie in the build folder).
#   tools/tidy.sh BUILD_FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1
stamps="$build/tidy-stamps"
mkdir -p "$stamps"
headers=$(git ls-files --cached --others --exclude-standard -- '*.h' '*.fbs' .clang-tidy CMakeLists.txt | sort | xargs cat | sha256sum)
export build stamps headers
tidy_one() {
  local source=$1 stamp
  stamp="$stamps/$(printf '%s %s' "$headers" "$(sha256sum "$source")" | sha256sum | cut -c1-40)"
  [ -e "$stamp" ] && return 0
  clang-tidy-19 --quiet -p "$build" "$source" 2>/dev/null && touch "$stamp"
}
export -f tidy_one
git ls-files --cached --others --exclude-standard -- 'src/**.cc' 'sim/*.cc' | grep -vE '_(test|fuzz|bench)\.cc$' |
  xargs -P "$(nproc)" -I{} bash -c 'tidy_one {} || { echo "tidy: {}"; exit 1; }'
echo "tidy: clean"
