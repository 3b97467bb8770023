# Crashes that the rules were not written for: they were written, and recorded, after the rules; see ../record.sh.

source "$(dirname "$crashes")/helpers.sh"

redis-cli-refused() { run redis-cli -h 127.0.0.1 -p 6390 ping; }
psql-refused() { run psql -h 127.0.0.1 -p 5433 -U app -c 'select 1'; }
psql-no-such-host() { no_names; run psql -h db.internal -U app -c 'select 1'; }
ruby-no-such-host() {
    no_names
    printf 'require "net/http"\nputs Net::HTTP.get(URI("http://api.internal/v1"))\n' >app.rb
    run ruby app.rb
}
redis-directory-missing() { run redis-server --port 6390 --dir /data/redis --save ''; }
redis-read-only() { mount -o remount,ro /data; run redis-server --port 6390 --dir /data --appendonly yes; }
redis-port-in-use() { listen_on 6390; run redis-server --port 6390 --save ''; }
redis-daemonized() { run redis-server --port 6390 --save '' --daemonize yes; sleep 1; }
ruby-gem-missing() { echo 'require "sinatra"' >app.rb; run ruby app.rb; }
php-autoload-missing() { echo '<?php require "vendor/autoload.php"; run();' >index.php; run php index.php; }
php-source-broken() { echo '<?php function ( { ' >index.php; run php index.php; }
perl-key-not-readable() {
    echo k >/data/host.key && chmod 600 /data/host.key
    echo 'open(my $f, "<", "/data/host.key") or die "cannot open key file: $!\n";' >app.pl
    as_user perl app.pl
}
perl-too-many-files() {
    echo 'while (1) { open(my $f, "<", "/srv/app.pl") or die "cannot open input: $!\n"; push @f, $f; }' >app.pl
    run sh -c 'ulimit -n 40; exec perl app.pl'
}
c-perror-config() {
    cat >app.c <<'X'
#include <stdio.h>
int main() { fopen("/etc/svc/extra.rc", "r"); if (!fopen("/etc/svc/config", "r")) { perror("config"); return 78; } }
X
    compile_it && run ./app
}
c-perror-bind() {
    listen_on 7777
    cat >app.c <<'X'
#include <stdio.h>
#include <netinet/in.h>
int main() {
    struct sockaddr_in a = {AF_INET, htons(7777)};
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(s, (void *)&a, sizeof a)) { perror("bind"); return 1; }
}
X
    compile_it && run ./app
}
c-silent-after-denied() {
    echo x >/data/token && chmod 600 /data/token
    cat >app.c <<'X'
#include <fcntl.h>
int main() { return open("/data/token", O_RDONLY) < 0 ? 2 : 0; }
X
    compile_it && as_user ./app
}
c-double-free() {
    cat >app.c <<'X'
#include <stdlib.h>
int main() { char *p = malloc(40); free(p); free(p); }
X
    compile_it && run ./app
}
c-stack-overflow() {
    cat >app.c <<'X'
int f(int n) { char b[4096]; b[n % 4096] = n; return f(n + 1) + b[0]; }
int main() { return f(1); }
X
    compile_it && run ./app
}
c-division() {
    cat >app.c <<'X'
int main(int c, char **v) { volatile int zero = c - 1; return 10 / zero; }
X
    compile_it && run ./app
}
c-licence-after-optional() {
    cat >app.c <<'X'
#include <stdio.h>
int main() { fopen("/etc/svc/site.conf", "r"); fprintf(stderr, "fatal: licence expired\n"); return 1; }
X
    compile_it && run ./app
}
node-tenant-after-metrics() {
    cat >server.js <<'X'
const net = require("net");
net.connect(9091, "127.0.0.1").on("error", e => {
    console.error("metrics push failed: " + e.message);
    setTimeout(() => { throw new Error("Invalid tenant id"); }, 50);
});
X
    run node server.js
}
node-settings-broken() {
    echo '{"name": "app"}' >package.json && echo '{"port": 80,, }' >settings.json
    cat >server.js <<'X'
const fs = require("fs");
const settings = JSON.parse(fs.readFileSync(__dirname + "/settings.json"));
X
    run node server.js
}
node-fetch-timeout() {
    echo 'fetch("http://10.9.0.7:9200/_cluster", { signal: AbortSignal.timeout(1500) }).then(r => r.text())' >server.js
    run node server.js
}
node-variable-undefined() { echo 'const key = process.env.API_KEY.trim();' >server.js; run node server.js; }
node-package-missing() { echo 'import pino from "pino";' >server.mjs; run node server.mjs; }
python-settings-required() {
    cat >app.py <<'X'
import os, sys
if "DATABASE_URL" not in os.environ:
    print("1 validation error for Settings\ndatabase_url\n  field required (type=value_error.missing)", file=sys.stderr)
    sys.exit(1)
X
    run python3 app.py
}
python-sqlite-full() {
    mount -t tmpfs -o size=64k none /data
    cat >app.py <<'X'
import sqlite3
db = sqlite3.connect("/data/app.db")
db.execute("create table t (x)")
while True:
    db.execute("insert into t values (?)", ("x" * 10000,)); db.commit()
X
    run python3 app.py
}
python-sqlite-read-only() {
    mount -o remount,ro /data
    printf 'import sqlite3\nsqlite3.connect("/data/app.db").execute("create table t (x)")\n' >app.py
    run python3 app.py
}
python-ffmpeg-missing() { printf 'import subprocess\nsubprocess.run(["ffmpeg", "-i", "x"], check=True)\n' >app.py; run python3 app.py; }
python-urllib-refused() { printf 'import urllib.request\nurllib.request.urlopen("http://127.0.0.1:8500/v1/kv")\n' >app.py; run python3 app.py; }
python-key-error() { echo '{"a": 1}' >data.json; printf 'import json\nrow = json.load(open("/srv/data.json"))\nprint(row["CUSTOMER_ID"])\n' >app.py; run python3 app.py; }
python-deprecated-then-module() {
    printf 'import warnings, sys\nprint("could not read /srv/.pgpass", file=sys.stderr)\nimport psycopg2\n' >app.py
    run python3 app.py
}
python-script-missing() { run python3 /srv/main.py; }
python-json-log-port() {
    listen_on 8088
    cat >app.py <<'X'
import json, socket, sys
try:
    s = socket.socket(); s.bind(("0.0.0.0", 8088))
except OSError as e:
    print(json.dumps({"level": "error", "msg": "listen tcp :8088: bind: address already in use"})); sys.exit(1)
X
    run python3 app.py
}
python-json-log-config() {
    cat >app.py <<'X'
import json, sys
try:
    open("/etc/svc/config.yml")
except OSError as e:
    print(json.dumps({"ts": 1, "level": "fatal", "error": "open /etc/svc/config.yml: no such file or directory"})); sys.exit(1)
X
    run python3 app.py
}
python-gives-up() {
    cat >app.py <<'X'
import socket, sys, time
for n in range(3):
    try:
        socket.create_connection(("127.0.0.1", 5672))
    except OSError as e:
        print(f"broker unavailable, attempt {n}", flush=True); time.sleep(0.2)
sys.exit("giving up after 3 attempts")
X
    run python3 app.py
}
python-threshold-after-refused() {
    cat >app.py <<'X'
import socket
try:
    socket.create_connection(("127.0.0.1", 8125))
except OSError:
    pass
raise ValueError("bad threshold: connection pool must be positive")
X
    run python3 app.py
}
python-publickey-after-denied() {
    echo x >/data/cache && chmod 600 /data/cache
    cat >app.py <<'X'
import sys
try:
    open("/data/cache")
except OSError:
    pass
sys.exit("git@example.com: Permission denied (publickey).")
X
    as_user python3 app.py
}
python-plugin-then-silent() {
    echo 1 >/data/table.csv
    cat >app.py <<'X'
import sys
try:
    open("/srv/plugins/geo.so")
except OSError as e:
    print(f"plugin geo: {e}", file=sys.stderr)
rows = open("/data/table.csv").read()
sys.exit(3)
X
    run python3 app.py
}
python-plugin-then-silent-at-once() {
    cat >app.py <<'X'
import sys
try:
    open("/srv/plugins/geo.so")
except OSError as e:
    print(f"plugin geo: {e}", file=sys.stderr)
sys.exit(0 if len(sys.argv) > 5 else 4)
X
    run python3 app.py
}
python-stopped() {
    printf 'import signal, sys, time\nsignal.signal(15, lambda *a: sys.exit(5))\ntime.sleep(30)\n' >app.py
    (sleep 2; kill -TERM $(pgrep -n -x -f "python3 app.py")) &
    run python3 app.py
}
bash-waits-for-database() {
    cat >entrypoint.sh <<'X'
#!/bin/bash
for i in 1 2 3; do
    (exec 3<>/dev/tcp/127.0.0.1/5432) 2>/dev/null && exec sleep 1000
    echo "waiting for database"
    sleep 0.2
done
echo "database is not there" >&2
exit 1
X
    chmod +x entrypoint.sh && run ./entrypoint.sh
}
bash-tests-for-licence() { run bash -c '[ -f /etc/app/licence.key ] || { echo "licence key missing" >&2; exit 1; }; exec sleep 1000'; }
sh-copy-then-port() {
    listen_on 8090
    echo 'require("http").createServer().listen(8090, "0.0.0.0")' >server.js
    run sh -c 'cp /etc/app/defaults.conf /data/ 2>/dev/null || true; exec node server.js'
}
bash-sources-then-tests() {
    printf '#!/bin/bash\nsource /etc/app/env\n[[ -n $TOKEN ]] || exit 1\nexec sleep 1000\n' >entrypoint.sh
    chmod +x entrypoint.sh && run ./entrypoint.sh
}
sh-grep-then-test() { run sh -c 'grep -q mode /etc/app/flags.conf; test -n "$TOKEN" || exit 1; sleep 1000'; }
sh-chown-denied() {
    printf '#!/bin/sh\nset -e\nchown -R 999 /data\nexec sleep 1000\n' >entrypoint.sh && chmod +x entrypoint.sh
    as_user ./entrypoint.sh
}
sh-drops-to-root() { as_user setpriv --reuid=0 true; }
sh-syntax-error() { printf '#!/bin/sh\nif true; then\necho x\n' >entrypoint.sh; chmod +x entrypoint.sh; run ./entrypoint.sh; }
sh-kills-worker() { run sh -c 'sleep 100 & pid=$!; kill -9 $pid; wait $pid'; }
env-carriage-return() { printf '#!/usr/bin/env python3\r\nprint(1)\n' >app.py; chmod +x app.py; run ./app.py; }
nginx-certificate-missing() {
    printf 'pid /srv/p;\nevents {}\nhttp { server { listen 8443 ssl; ssl_certificate /etc/tls/tls.crt; ssl_certificate_key /etc/tls/tls.key; } }\n' >nginx.conf
    run nginx -e /srv/error.log -c /srv/nginx.conf -g 'daemon off;'
}
nginx-log-directory-missing() {
    printf 'pid /srv/p;\nerror_log /var/log/shop/error.log;\nevents {}\nhttp { server { listen 8080; } }\n' >nginx.conf
    run nginx -e stderr -c /srv/nginx.conf -g 'daemon off;'
}
nginx-pid-read-only() {
    mount -o remount,ro /data
    printf 'pid /data/nginx.pid;\nevents {}\nhttp { server { listen 8080; } }\n' >nginx.conf
    run nginx -e stderr -c /srv/nginx.conf -g 'daemon off;'
}
nginx-bad-port() {
    printf 'pid /srv/p;\nevents {}\nhttp { server { listen 80800; } }\n' >nginx.conf
    run nginx -e stderr -c /srv/nginx.conf -g 'daemon off;'
}
nginx-background() {
    printf 'pid /srv/p;\nevents {}\nhttp { server { listen 8080; } }\n' >nginx.conf
    run nginx -e stderr -c /srv/nginx.conf
}
java-refused() {
    cat >Main.java <<'X'
public class Main { public static void main(String[] a) throws Exception { new java.net.Socket("127.0.0.1", 9042); } }
X
    javac Main.java && run java -XX:TieredStopAtLevel=1 -cp /srv Main
}
java-properties-missing() {
    cat >Main.java <<'X'
public class Main { public static void main(String[] a) {
    try { new java.io.FileInputStream("/etc/svc/app.properties"); }
    catch (Exception e) { throw new IllegalStateException("cannot start", e); } } }
X
    javac Main.java && run java -XX:TieredStopAtLevel=1 -cp /srv Main
}
java-heap() {
    cat >Main.java <<'X'
public class Main { public static void main(String[] a) { byte[][] b = new byte[4096][]; for (int i = 0; i < 4096; i++) b[i] = new byte[1 << 20]; } }
X
    javac Main.java && run java -XX:TieredStopAtLevel=1 -Xmx16m -cp /srv Main
}
java-jar-missing() { run java -jar app.jar; }
curl-not-found() {
    python3 -m http.server 8099 >/dev/null 2>&1 &
    sleep 1
    run curl -sSf http://127.0.0.1:8099/health
}
curl-wrong-protocol() {
    python3 -m http.server 8099 >/dev/null 2>&1 &
    sleep 1
    run curl -sS https://127.0.0.1:8099/health
}
