#!/bin/busybox sh
# The guest's first process: loads what the root needs, lays a throw-away layer over the host's root, goes there.
b=/bin/busybox
fail() {
    echo "ipmp-vm: $*"
    $b poweroff -f
}
$b mount -t devtmpfs devtmpfs /dev
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
if $b grep -q ipmp.trial /proc/cmdline; then
    echo "ipmp-vm: alive"
    $b poweroff -f
fi
while read -r module; do
    $b insmod "/modules/$module" || echo "ipmp-vm: insmod $module failed"
done < /modules/order
options=trans=virtio,version=9p2000.L,msize=512000
$b mount -t 9p -o $options,ro,cache=loose root /lower || fail "the host's root cannot be mounted"
$b mount -t tmpfs tmpfs /upper && $b mkdir /upper/data /upper/work
$b mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work overlay /root ||
    fail "the overlay cannot be mounted"
$b mount -t tmpfs tmpfs /root/run && $b mkdir /root/run/ipmp-vm /root/run/lock /root/run/netns
$b mount -t 9p -o $options,rw run /root/run/ipmp-vm || fail "the run directory cannot be mounted"
for directory in dev proc sys; do
    $b mount --move /$directory /root/$directory
done
$b cp /bin/busybox /root/run/busybox
exec $b switch_root /root /bin/sh /run/ipmp-vm/session
