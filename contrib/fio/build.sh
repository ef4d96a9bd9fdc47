#!/usr/bin/env bash
# Builds contrib/fio/gd2fs_engine.c for the fio that Debian installs, into build/lib/libgd2fs_fio.so.
#
# An engine must be compiled against the headers of the very fio that loads it, and Debian ships no fio headers. So this
# takes fio's source package, of the installed version, from the package source this machine already uses, configures it
# (headers only; fio itself is not built) and compiles the engine. Everything it fetches stays in build/fio-source.
set -euo pipefail
cd "$(dirname "$0")/../.."
top=$PWD
work="$top/build/fio-source"
installed=$(dpkg-query -W -f='${Version}' fio 2>/dev/null) || { echo "fio: not installed (apt-get install fio)" >&2; exit 1; }
mkdir -p "$work/lists/partial" "$work/parts"

if [ "$(cat "$work/version" 2>/dev/null)" != "$installed" ]; then
  # The same package sources as the machine's own, asked for source packages.
  for sources in /etc/apt/sources.list.d/*.sources; do
    [ -e "$sources" ] && sed 's/^Types:.*/Types: deb-src/' "$sources" >"$work/parts/$(basename "$sources")"
  done
  if [ -s /etc/apt/sources.list ]; then
    sed -n 's/^deb /deb-src /p' /etc/apt/sources.list >"$work/parts/main.list"
  fi
  apt_options=(-qq -o "Dir::Etc::SourceList=/dev/null" -o "Dir::Etc::SourceParts=$work/parts" -o "Dir::State::Lists=$work/lists"
    -o APT::Sandbox::User=root)
  apt-get "${apt_options[@]}" update
  (cd "$work" && apt-get "${apt_options[@]}" source --download-only "fio=$installed")
  tar -x -C "$work" -f "$(find "$work" -maxdepth 1 -name "fio_*.orig.tar.*" ! -name "*.asc")"
  folder=$(find "$work" -maxdepth 1 -type d -name 'fio-*' | sort | tail -n 1)
  ln -sfn "$folder" "$work/fio"
  (cd "$work/fio" && ./configure >/dev/null)
  echo "$installed" >"$work/version"
fi

cc -std=gnu11 -O2 -fPIC -shared -Wall -D_GNU_SOURCE -DCONFIG_DYNAMIC_ENGINES -include "$work/fio/config-host.h" -I "$work/fio" \
  -I "$top/include" -o "$top/build/lib/libgd2fs_fio.so" "$top/contrib/fio/gd2fs_engine.c" \
  -L "$top/build/lib" -lgd2fs -Wl,-rpath,"$top/build/lib"
echo "built build/lib/libgd2fs_fio.so for fio $installed"
