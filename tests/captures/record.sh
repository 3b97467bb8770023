#!/bin/bash
# Records crashes: record.sh LASTWORD CRASHES FOLDER [NAME…], as root.
#
# CRASHES is a file of bash functions, one a crash: it prepares /srv and /data, which are empty, and calls `run COMMAND…`.
# Each has namespaces of its own: host name node-1, a network of loopback and 10.9.0.0/16, which answers nothing.
set -eu
lastword=$(realpath "$1") crashes=$(realpath "$2") folder=$(realpath "$3")
shift 3
[ $# -gt 0 ] || set -- $(grep -oE '^[a-z0-9-]+\(\)' "$crashes" | tr -d '()')

inside() {
    hostname node-1
    mount -t tmpfs -o mode=755 none /srv
    mkdir -p /data && mount -t tmpfs -o mode=755 none /data
    ip link set lo up
    ip tuntap add hole mode tun && ip link set hole up && ip address add 10.9.0.1/16 dev hole
    echo 1 >/proc/sys/net/ipv4/tcp_syn_retries
    cd /srv
    restarts=1
    source "$crashes"
    # run COMMAND…: records it.
    run() {
        env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
            timeout -k 2 15 "$lastword" run --restarts "$restarts" --backoff none --output "$folder/$name.lwcap" -- "$@" >/dev/null 2>&1 || true
    }
    "$name"
    kill $(jobs -p) 2>/dev/null || true
}

if [ -n "${INSIDE-}" ]; then
    name=$INSIDE
    inside
    exit
fi
for name; do
    rm -f "$folder/$name.lwcap"
    INSIDE=$name unshare --mount --uts --net "$0" "$lastword" "$crashes" "$folder" || echo "$name: failed" >&2
    [ -s "$folder/$name.lwcap" ] || echo "$name: no capture" >&2
done
