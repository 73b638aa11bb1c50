# Runs in the guest after the root is in place: mounts what a command may expect, runs it, hands back its status.
# /run/ipmp-vm/settings says what differs from run to run. The shell is the host's: busybox's would prefer its own
# applets to the programs that tests mean (ip, modprobe). What a host may lack is busybox's, called by name.
export PATH=/run/ipmp-vm/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
b=/run/busybox
say() {
    echo "ipmp-vm: $*" > /dev/console
}
. /run/ipmp-vm/settings

$b mkdir -p /dev/pts /dev/shm /dev/net /lib/modules
$b mount -t devpts devpts /dev/pts
$b mount -t tmpfs tmpfs /dev/shm
[ -e /dev/net/tun ] || $b mknod /dev/net/tun c 10 200
[ -e /dev/fd ] || $b ln -s /proc/self/fd /dev/fd
[ -e /dev/stdin ] || $b ln -s fd/0 /dev/stdin
[ -e /dev/stdout ] || $b ln -s fd/1 /dev/stdout
[ -e /dev/stderr ] || $b ln -s fd/2 /dev/stderr
$b mount -t bpf bpf /sys/fs/bpf
$b mount -t debugfs debugfs /sys/kernel/debug
$b mount -t tracefs tracefs /sys/kernel/tracing
$b mount -t cgroup2 cgroup2 /sys/fs/cgroup
$b mount -t tmpfs tmpfs /lib/modules
$b mkdir "/lib/modules/$kernel"
$b mount --bind "$modules" "/lib/modules/$kernel"

# The working tree, writable, under the path it has on the host.
count=0
for directory in "$@"; do
    $b mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=mmap,rw "share$count" "$directory" ||
        say "$directory cannot be mounted writable"
    count=$((count + 1))
done

$b hostname ipmp-vm
$b ip link set lo up
for port in /sys/class/virtio-ports/*; do
    read -r name < "$port/name"
    $b ln -s "/dev/${port##*/}" "/dev/${name#ipmp.}"
done
for module in $load; do
    modprobe "$module" || say "modprobe $module failed"
done
# QEMU's name of each NIC, and the guest's.
for nic in $nics; do
    for interface in /sys/class/net/*; do
        read -r address < "$interface/address"
        [ "$address" = "${nic#*=}" ] && echo "${nic%%=*} ${interface##*/} $address"
    done
done > /run/ipmp-vm/nics

$b mkfifo /run/out /run/err
$b cat /run/out > /dev/out &
out=$!
$b cat /run/err > /dev/err &
err=$!
# The caller's own setting, if there is one, comes with the command.
export IPMP_TEST_SLOWNESS="$slowness"
read -r uptime rest < /proc/uptime
echo "$uptime" > /run/ipmp-vm/started
say "the command starts"
/bin/sh /run/ipmp-vm/command > /run/out 2> /run/err < /dev/null
status=$?
read -r uptime rest < /proc/uptime
echo "$uptime" > /run/ipmp-vm/ended
# A process that the command left behind may hold the output open: it gets two seconds.
($b sleep 2; $b kill $out $err) 2> /dev/null &
wait $out
wait $err
echo $status > /run/ipmp-vm/status
$b sync
$b poweroff -f
