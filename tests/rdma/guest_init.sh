#!/bin/busybox sh
# The guest's first process, from the initramfs: loads the modules, makes the host's files the root and runs guest_main.sh there.
# Whatever happens, it powers the guest off at its end.
#
# The host's / is read only, under a layer in the guest's memory: the guest cannot change a file of the host. The one folder that
# is shared for writing is /run/gd2fs-guest, run.sh's own.
bb=/bin/busybox
say() { echo "guest: $*"; }
finish() {
  $bb sync
  echo o >/proc/sysrq-trigger
  $bb sleep 60
}

$bb mount -t proc proc /proc
$bb mount -t sysfs sysfs /sys
$bb mount -t devtmpfs devtmpfs /dev
for module in /modules/*.ko; do
  $bb insmod "$module" || say "$module does not load"
done

share="trans=virtio,version=9p2000.L,msize=262144"
$bb mount -t 9p -o "$share,ro,cache=loose" host /lower || { say "no root"; finish; }
$bb mount -t tmpfs -o size=25% tmpfs /upper
$bb mkdir /upper/files /upper/work
$bb mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work overlay /root || { say "no layer"; finish; }
for each in proc sys dev; do
  $bb mount --move /$each /root/$each
done
$bb mkdir /whole
$bb mount --bind /root /whole
for each in dev/shm run tmp; do
  $bb mkdir -p "/root/$each"
  $bb mount -t tmpfs -o mode=1777 tmpfs "/root/$each"
done
$bb mkdir -p /root/dev/pts /root/run/gd2fs-guest
$bb mount -t devpts devpts /root/dev/pts
$bb mount -t 9p -o "$share" share /root/run/gd2fs-guest || say "no shared folder"
# The repository and the programs, if they lie in what was just covered.
while read -r folder; do
  [ -d "/root$folder" ] && continue
  $bb mkdir -p "/root$folder"
  $bb mount --bind "/whole$folder" "/root$folder" || say "no $folder"
done </root/run/gd2fs-guest/folders
$bb mount -t proc proc /proc

$bb chroot /root /bin/bash /run/gd2fs-guest/main.sh
say "main.sh ended with $?"
finish
