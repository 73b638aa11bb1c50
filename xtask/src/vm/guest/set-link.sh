#!/run/busybox sh
# set-link NIC up|down: plugs or pulls the cable of one of this machine's NICs (nic0, nic1, ...) through QMP.
case $2 in
    up) up=true ;;
    down) up=false ;;
    *) echo "usage: set-link NIC up|down" >&2; exit 2 ;;
esac
exec 3<> /dev/qmp || exit 1
# QMP answers every request with one line that has "return" or "error"; greeting and events have neither.
request() {
    echo "$1" >&3
    while read -r -t 20 line <&3; do
        case $line in
            *'"return"'* | *'"error"'*) echo "$line"; return ;;
        esac
    done
    echo '"error": no answer within 20 s'
}
# The second and later calls get an error here: the mode is entered already.
request '{"execute": "qmp_capabilities"}' > /dev/null
answer=$(request "{\"execute\": \"set_link\", \"arguments\": {\"name\": \"$1\", \"up\": $up}}")
case $answer in
    *'"error"'*) echo "set-link $1 $2: $answer" >&2; exit 1 ;;
esac
