# The crashes that rules were written for; see record.sh. Those of README.md that are not here were recorded by hand.

as_user() { run setpriv --reuid=1000 --regid=1000 --clear-groups "$@"; }

read-only-python() {
    mount -o remount,ro /data
    cat >app.py <<'X'
print("starting", flush=True)
open("/data/state.db", "w")
X
    run python3 app.py
}
read-only-sh() {
    mount -o remount,ro /data
    run sh -ec 'echo $$ > /data/app.pid; exec sleep 1000'
}
read-only-mkdir() {
    mount -o remount,ro /data
    run sh -ec 'mkdir -p /data/cache/thumbs; sleep 1000'
}
permission-open-python() {
    mkdir /data/secrets && echo '{}' >/data/secrets/key.json && chmod 600 /data/secrets/key.json
    echo 'open("/data/secrets/key.json").read()' >app.py
    as_user python3 app.py
}
permission-bind-node() {
    echo 'require("http").createServer(() => {}).listen(80);' >server.js
    as_user node server.js
}
permission-log-sh() {
    run setpriv --reuid=1000 --regid=1000 --clear-groups sh -c 'echo started >> /data/app.log || exit 1; sleep 1000'
}
permission-nginx() {
    mkdir logs && printf 'events {}\nhttp { server { listen 8080; } }\n' >nginx.conf
    as_user /usr/sbin/nginx -e /data/error.log -c /srv/nginx.conf -g 'daemon off; pid /data/nginx.pid;'
}
disk-full-python() {
    mount -t tmpfs -o size=64k none /data
    cat >app.py <<'X'
with open("/data/queue.db", "wb", buffering=0) as f:
    while True:
        f.write(b"x" * 8192)
X
    run python3 app.py
}
disk-full-sh() {
    mount -t tmpfs -o size=64k none /data
    dd if=/dev/zero of=/data/old bs=4k count=100 2>/dev/null || true
    run sh -ec 'echo saving; echo 12345678 > /data/offset; sleep 1000'
}
disk-full-dd() {
    mount -t tmpfs -o size=64k none /data
    run dd if=/dev/zero of=/data/volume.img bs=4k count=100
}
too-many-files-python() {
    cat >app.py <<'X'
files = []
while True:
    files.append(open("/srv/app.py"))
X
    run sh -c 'ulimit -n 64; exec python3 app.py'
}
too-many-files-node() {
    cat >server.js <<'X'
const fs = require("fs");
for (;;) fs.openSync("/srv/server.js");
X
    run sh -c 'ulimit -n 64; exec node server.js'
}
port-in-use-node() {
    python3 -m http.server 8080 >/dev/null 2>&1 &
    sleep 1
    echo 'require("http").createServer(() => {}).listen(8080);' >server.js
    run node server.js
}
port-in-use-python() {
    cat >app.py <<'X'
import socket
first = socket.socket(); first.bind(("127.0.0.1", 9000)); first.listen()
second = socket.socket(); second.bind(("127.0.0.1", 9000)); second.listen()
X
    run python3 app.py
}
port-in-use-nginx() {
    python3 -m http.server 8080 >/dev/null 2>&1 &
    sleep 1
    printf 'error_log /srv/error.log;\npid /srv/nginx.pid;\nevents {}\nhttp { server { listen 8080; } }\n' >nginx.conf
    run nginx -e /srv/error.log -c /srv/nginx.conf -g 'daemon off;'
}
module-missing-node() {
    echo 'const express = require("express"); express().listen(80);' >server.js
    run node server.js
}
module-missing-python() {
    printf 'import json\nfrom flask import Flask\n' >app.py
    run python3 app.py
}
import-error-python() {
    printf 'from json import loadz\n' >app.py
    run python3 app.py
}
class-missing-java() {
    run java -Xshare:auto -XX:TieredStopAtLevel=1 -cp /srv com.example.Main
}
class-missing-java-run() {
    mkdir -p com/example
    cat >com/example/Main.java <<'X'
package com.example;
public class Main { public static void main(String[] a) { System.out.println(new Helper().get()); } }
class Helper { String get() { return "x"; } }
X
    javac com/example/Main.java && rm com/example/Helper.class com/example/Main.java
    run java -XX:TieredStopAtLevel=1 -cp /srv com.example.Main
}
module-missing-perl() {
    echo 'use JSON::XS::Boolean2; print "ok\n";' >app.pl
    run perl app.pl
}
config-malformed-python() {
    echo '{"port": 80,}' >config.json
    printf 'import json\nconfig = json.load(open("/srv/config.json"))\n' >app.py
    run python3 app.py
}
config-malformed-yaml() {
    printf 'server:\n  port: 80\n name: x\n' >config.yaml
    printf 'import yaml\nyaml.safe_load(open("/srv/config.yaml"))\n' >app.py
    run python3 app.py
}
config-malformed-nginx() {
    printf 'events {}\nhttp {\n  server {\n    prox_pass http://x;\n  }\n}\n' >nginx.conf
    run nginx -e /srv/error.log -c /srv/nginx.conf -g 'daemon off;'
}
config-empty-node() {
    : >config.json
    echo 'const c = JSON.parse(require("fs").readFileSync("/srv/config.json", "utf8")); require("http").createServer().listen(c.port)' >server.js
    run node server.js
}
config-malformed-redis() {
    printf 'port 7000\nmaxmemori 100mb\n' >redis.conf
    run redis-server /srv/redis.conf
}
variable-missing-python() {
    printf 'import os\nurl = os.environ["DATABASE_URL"]\n' >app.py
    run python3 app.py
}
variable-missing-node() {
    cat >server.js <<'X'
if (!process.env.SESSION_SECRET) { console.error("Error: environment variable SESSION_SECRET is not set"); process.exit(1); }
X
    run node server.js
}
variable-unbound-bash() {
    printf '#!/bin/bash\nset -eu\necho "serving $APP_ROOT"\n' >entrypoint.sh && chmod +x entrypoint.sh
    run ./entrypoint.sh
}
timed-out-curl() {
    run curl -sS --connect-timeout 2 http://10.9.0.7:8080/health
}
timed-out-python() {
    cat >app.py <<'X'
import socket
s = socket.create_connection(("10.9.0.7", 5432), timeout=1)
X
    run python3 app.py
}
timed-out-kernel() {
    cat >app.py <<'X'
import socket
s = socket.create_connection(("10.9.0.7", 5432))
X
    run python3 app.py
}
tolerated-then-exit() {
    run sh -c 'cat /etc/app/optional.conf; [ -n "$WORKERS" ] || exit 1; sleep 1000'
}
errexit-file-missing() {
    printf '#!/bin/sh\nset -e\ncat /etc/app/settings.conf\nexec sleep 1000\n' >entrypoint.sh && chmod +x entrypoint.sh
    run ./entrypoint.sh
}
warned-then-silent() {
    cat >app.py <<'X'
import sys
try:
    open("/etc/app/optional.conf")
except OSError as e:
    print(f"warning: {e}, using defaults", file=sys.stderr)
sys.exit(1)
X
    run python3 app.py
}
segfault-python() {
    echo 'import ctypes; ctypes.string_at(0)' >app.py
    run python3 app.py
}
differing-runs() {
    restarts=3
    cat >app.py <<'X'
import os, json
if not os.path.exists("/data/ran"):
    open("/data/ran", "w")
    raise SystemExit("fatal: licence check failed")
json.load(open("/srv/config.json"))
X
    run python3 app.py
}

# What hangs and is killed. `killed SIGNAL SECONDS` does it from outside, when the program has written its pid.
killed() {
    (
        while [ ! -s /data/pid ]; do sleep 0.1; done
        sleep "$2"
        kill "-$1" "$(cat /data/pid)"
    ) &
}
# A database that takes connections and never answers.
silent_database() {
    python3 -c '
import socket, time
server = socket.create_server(("10.9.0.1", 5432))
time.sleep(60)' &
    sleep 0.5
}
hung-recv-python() {
    silent_database
    cat >app.py <<'X'
import os, socket
database = socket.create_connection(("10.9.0.1", 5432))
database.sendall(b"select 1")
open("/data/pid", "w").write(str(os.getpid()))
database.recv(4096)
X
    killed TERM 3
    run python3 app.py
}
hung-connect-python() {
    cat >app.py <<'X'
import os, socket
open("/data/pid", "w").write(str(os.getpid()))
socket.create_connection(("10.9.0.7", 5432))
X
    echo 6 >/proc/sys/net/ipv4/tcp_syn_retries
    killed KILL 3
    run python3 app.py
}
hung-lock-sh() {
    : >/data/app.lock
    flock /data/app.lock sleep 60 &
    sleep 0.5
    killed KILL 3
    run sh -c 'echo $$ >/data/pid; exec flock /data/app.lock true'
}
hung-thread-python() {
    silent_database
    cat >app.py <<'X'
import os, socket, threading, time
database = socket.create_connection(("10.9.0.1", 5432))
threading.Thread(target=time.sleep, args=(99,)).start()
threading.Thread(target=database.recv, args=(4096,)).start()
open("/data/pid", "w").write(str(os.getpid()))
X
    killed TERM 3
    run python3 app.py
}
hung-handler-python() {
    silent_database
    cat >app.py <<'X'
import os, signal, socket, sys
def stop(*_):
    print("shutting down", flush=True)
    open("/data/state", "w").write("saved")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
database = socket.create_connection(("10.9.0.1", 5432))
open("/data/pid", "w").write(str(os.getpid()))
database.recv(4096)
X
    killed TERM 3
    run python3 app.py
}
hung-timeout-python() {
    silent_database
    cat >app.py <<'X'
import socket
socket.create_connection(("10.9.0.1", 5432)).recv(4096)
X
    run timeout 3 python3 app.py
}
busy-sh() {
    killed KILL 2
    run sh -c 'echo $$ >/data/pid; while :; do :; done'
}
idle-server-python() {
    cat >app.py <<'X'
import os, selectors, socket
events = selectors.DefaultSelector()
events.register(socket.create_server(("10.9.0.1", 8080)), selectors.EVENT_READ)
open("/data/pid", "w").write(str(os.getpid()))
events.select()
X
    killed TERM 2
    run python3 app.py
}
