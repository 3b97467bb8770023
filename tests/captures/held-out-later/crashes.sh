# More crashes that the rules were not written for: recorded after what ../held-out showed had gone into them; see ../record.sh.

source "$(dirname "$crashes")/../held-out/helpers.sh"

ruby-yaml-broken() {
    printf 'port: [80\nname: x\n' >settings.yml
    printf 'require "yaml"\nYAML.load_file("/srv/settings.yml")\n' >app.rb
    run ruby --disable-gems app.rb
}
ruby-not-readable() {
    echo x >/data/master.key && chmod 600 /data/master.key
    echo 'File.read("/data/master.key")' >app.rb
    as_user ruby --disable-gems app.rb
}
ruby-env-fetch() { echo 'ENV.fetch("REDIS_URL")' >app.rb; run ruby --disable-gems app.rb; }
perl-refused() {
    printf 'use IO::Socket::INET;\nmy $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1:11211") or die "memcached: $@\\n";\n' >app.pl
    run perl app.pl
}
perl-dbi-missing() { printf 'use strict;\nuse DBIx::Class::Nowhere;\n' >app.pl; run perl app.pl; }
c-sockets-used-up() {
    cat >app.c <<'X'
#include <stdio.h>
#include <sys/socket.h>
int main() { for (;;) if (socket(AF_INET, SOCK_STREAM, 0) < 0) { perror("socket"); return 1; } }
X
    compile_it && run sh -c 'ulimit -n 30; exec ./app'
}
c-init-failed() {
    mount -o remount,ro /data
    cat >app.c <<'X'
#include <stdio.h>
#include <errno.h>
#include <sys/stat.h>
int main() { if (mkdir("/data/spool", 0755)) { fprintf(stderr, "init failed: %d\n", -errno); return 70; } }
X
    compile_it && run ./app
}
c-port-variable() {
    cat >app.c <<'X'
#include <stdio.h>
#include <stdlib.h>
int main() { if (!getenv("PORT")) { fprintf(stderr, "PORT not set\n"); return 1; } }
X
    compile_it && run ./app
}
c-bus-error() {
    cat >app.c <<'X'
#include <fcntl.h>
#include <sys/mman.h>
int main() { int f = open("/srv/map", O_RDWR | O_CREAT, 0644); char *m = mmap(0, 4096, 3, MAP_SHARED, f, 0); return m[100]; }
X
    compile_it && run ./app
}
c-illegal-instruction() { echo 'int main() { __builtin_trap(); }' >app.c; compile_it && run ./app; }
python-log-handler() { printf 'import logging\nlogging.FileHandler("/var/log/app.log")\n' >app.py; as_user python3 app.py; }
python-ini-broken() { echo 'port = 80' >app.ini; printf 'import configparser\nconfigparser.ConfigParser().read("/srv/app.ini")\n' >app.py; run python3 app.py; }
python-toml-broken() { echo 'port = = 80' >app.toml; printf 'import tomllib\ntomllib.load(open("/srv/app.toml", "rb"))\n' >app.py; run python3 app.py; }
python-division-after-statsd() {
    cat >app.py <<'X'
import socket, sys
try:
    socket.create_connection(("127.0.0.1", 8125))
except OSError as e:
    print(f"ERROR could not connect to statsd 127.0.0.1:8125: {e}", file=sys.stderr)
print(1 / 0)
X
    run python3 app.py
}
python-bad-number() {
    echo '{"workers": "abc"}' >config.json
    printf 'import json\nint(json.load(open("/srv/config.json"))["workers"])\n' >app.py
    run python3 app.py
}
python-reply-timeout() {
    listen_on 7070
    printf 'import socket\ns = socket.create_connection(("127.0.0.1", 7070), timeout=1)\ns.send(b"hello")\ns.recv(10)\n' >app.py
    run python3 app.py
}
python-gunicorn-port() {
    listen_on 8000
    cat >app.py <<'X'
import socket, sys, time
for n in range(3):
    try:
        socket.socket().bind(("0.0.0.0", 8000))
    except OSError:
        print("[ERROR] Connection in use: ('0.0.0.0', 8000)", file=sys.stderr); time.sleep(0.1)
print("[ERROR] Can't connect to ('0.0.0.0', 8000)", file=sys.stderr)
sys.exit(1)
X
    run python3 app.py
}
node-licence-after-look() {
    printf 'const fs = require("fs");\nif (fs.existsSync("/etc/app/opt.json")) process.exit(0);\nthrow new Error("licence invalid: seat count exceeded");\n' >server.js
    run node server.js
}
node-peer-after-dns() {
    no_names
    cat >server.js <<'X'
require("dns").lookup("tracing.internal", () => {
    console.error("Error: schema version 7 expected, found 6"); process.exit(2);
});
X
    run node server.js
}
node-may-not-write() { echo 'require("fs").writeFileSync("/data/cache.json", "{}")' >server.js; as_user node server.js; }
node-relative-config() { echo 'require("./config/prod.json")' >server.js; run node server.js; }
nginx-port-80() {
    printf 'pid /tmp/p;\nevents {}\nhttp { client_body_temp_path /tmp/a; proxy_temp_path /tmp/b; fastcgi_temp_path /tmp/c; uwsgi_temp_path /tmp/d; scgi_temp_path /tmp/e; access_log off; server { listen 80; } }\n' >nginx.conf
    as_user /usr/sbin/nginx -e stderr -c /srv/nginx.conf -g 'daemon off;'
}
nginx-include-missing() {
    printf 'pid /srv/p;\nevents {}\nhttp { include /etc/nginx/sites/app.conf; }\n' >nginx.conf
    run nginx -e stderr -c /srv/nginx.conf -g 'daemon off;'
}
redis-config-missing() { run redis-server /etc/redis/none.conf; }
redis-bad-argument() { run redis-server --maxmemory abc; }
wget-no-such-host() { no_names; run wget -q -O /dev/null http://assets.internal/x; }
wget-no-such-host-told() { no_names; run wget -O /dev/null http://assets.internal/x; }
java-port-in-use() {
    listen_on 8085
    echo 'public class Main { public static void main(String[] a) throws Exception { new java.net.ServerSocket(8085); } }' >Main.java
    javac Main.java && run java -XX:TieredStopAtLevel=1 -cp /srv Main
}
java-may-not-read() {
    echo x >/data/keystore && chmod 600 /data/keystore
    echo 'public class Main { public static void main(String[] a) throws Exception { java.nio.file.Files.readAllBytes(java.nio.file.Path.of("/data/keystore")); } }' >Main.java
    javac Main.java && as_user java -XX:TieredStopAtLevel=1 -cp /srv Main
}
sh-directory-missing() { run sh -c 'cd /data/app && exec ./server'; }
sh-not-executable() { echo 'echo x' >run.sh; chmod 644 run.sh; run sh -c './run.sh'; }
sh-envsubst-missing() { printf '#!/bin/sh\nset -e\nenvsubst_not_there < /etc/passwd > /srv/out\n' >entrypoint.sh; chmod +x entrypoint.sh; run ./entrypoint.sh; }
bash-pipeline-refused() { run bash -ec 'set -o pipefail; curl -sS http://127.0.0.1:8500/v1/kv | cat; sleep 1000'; }
bash-first-worker-dies() {
    printf '#!/bin/bash\nsleep 20 &\ncat /etc/svc/routes.json &\nwait -n\ncode=$?\nkill %%1 2>/dev/null\nexit $code\n' >entrypoint.sh
    chmod +x entrypoint.sh; run ./entrypoint.sh
}
sh-ends-itself() { run sh -c 'kill -TERM $$; sleep 5'; }
tar-disk-full() {
    head -c 300000 /dev/urandom >big && tar cf seed.tar big && rm big
    mount -t tmpfs -o size=64k none /data
    run tar xf seed.tar -C /data
}
cp-read-only() { mount -o remount,ro /data; echo x >seed.db; run cp seed.db /data/seed.db; }
