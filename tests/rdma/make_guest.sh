#!/usr/bin/env bash
# Makes the guest in which RDMA is tested: Debian's kernel and an initramfs. Prints the folder that holds them.
#   tests/rdma/make_guest.sh
# The kernel package is unpacked, not installed. What was made is kept in ${GD2FS_GUEST_CACHE:-~/.cache/gd2fs-guest}, so that a
# second run takes no time; it is made anew when Debian has another kernel in store here, or when this file or guest_init.sh changes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${GD2FS_GUEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/gd2fs-guest}

# In the order in which they are loaded: the two lines of the 9p root, then disks, then networks and RDMA.
# Without crc32_generic rdma_rxe answers ENOENT to everything.
modules=(virtio_pci 9pnet_virtio 9p overlay
  virtio_blk crc32c_generic ext4
  crc32_generic dummy veth rdma_rxe ib_uverbs rdma_ucm)

kernel_package() { apt-cache depends linux-image-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1; }
package=$(kernel_package)
if [ -z "$package" ]; then
  apt-get update -qq >&2
  package=$(kernel_package)
fi
[ -n "$package" ] || { echo "make_guest: linux-image-amd64 is in no package source of this machine" >&2; exit 1; }
version=${package#linux-image-}
key=$(cat "$here/make_guest.sh" "$here/guest_init.sh" | sha256sum | cut -c1-12)
made="$cache/$version-$key"
if [ -e "$made/initramfs" ]; then
  echo "$made"
  exit
fi

mkdir -p "$cache"
work=$(mktemp -d "$cache/making.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/kernel" "$work/ready" "$work/root"
(cd "$work" && apt-get -qq -o APT::Sandbox::User=root download "$package" >&2)
dpkg -x "$work"/linux-image-*.deb "$work/kernel"
cp "$work/kernel/boot/vmlinuz-$version" "$work/ready/vmlinuz"
depmod -b "$work/kernel" "$version"

cd "$work/root"
mkdir -p bin dev proc sys lower upper root modules out
cp "$(command -v busybox)" bin/busybox
cp "$here/guest_init.sh" init
chmod 755 init
number=100
for module in "${modules[@]}"; do
  # "insmod FILE" for each module that must be there before, and it itself; what is built in is told apart.
  while read -r verb file _; do
    [ "$verb" = insmod ] || continue
    name=$(basename "$file")
    compgen -G "modules/*-$name" >/dev/null || cp "$file" "modules/$number-$name"
    number=$((number + 1))
  done < <(modprobe -d "$work/kernel" -S "$version" --show-depends "$module")
done
find . | cpio --quiet -o -H newc | gzip -1 >"$work/ready/initramfs"

# Another run may have made the same meanwhile: either is good.
mv -T "$work/ready" "$made" 2>/dev/null || [ -e "$made/initramfs" ]
echo "$made"
