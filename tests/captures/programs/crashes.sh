# Crashes of programs from Debian's packages, after reports of people who ran them in containers; see record.sh and
# README.md. Nobody looked at a verdict before all of them were written. They need these packages of Debian 12:
# alembic apache2 beanstalkd bind9 curl dnsmasq-base docker-registry etcd-server git golang-go gunicorn haproxy iproute2
# mariadb-server memcached mosquitto nodejs openjdk-17-jdk-headless openssh-server openssl php-cli php-fpm postfix
# postgresql prometheus puma python3-psycopg2 python3-sqlalchemy rabbitmq-server redis-server ruby rustc slapd squid
# stunnel4 supervisor tor unbound uwsgi-core uwsgi-plugin-python3 varnish

run_as() { local user=$1; shift; run setpriv --reuid="$user" --regid="$user" --init-groups "$@"; }
pg=/usr/lib/postgresql/15/bin
pg_data() {
    mkdir -p /data/pg && chown postgres /data/pg && chmod 700 /data/pg
    setpriv --reuid=postgres --regid=postgres --clear-groups $pg/initdb -D /data/pg -U postgres >/dev/null 2>&1
    mkdir -p /var/run/postgresql && chown postgres /var/run/postgresql
}
listen_on() { python3 -c "
import socket, time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('0.0.0.0', $1)); s.listen(); time.sleep(60)" & sleep 0.5; }

postgres-directory-too-open() { pg_data; chmod 755 /data/pg; run_as postgres $pg/postgres -D /data/pg; }
postgres-directory-of-another() { pg_data; chown -R root /data/pg; run_as postgres $pg/postgres -D /data/pg; }
postgres-port-taken() { pg_data; listen_on 5432; run_as postgres $pg/postgres -D /data/pg -h 127.0.0.1; }
postgres-older-version() { pg_data; echo 13 >/data/pg/PG_VERSION; run_as postgres $pg/postgres -D /data/pg; }
postgres-unknown-parameter() { pg_data; echo 'max_conections = 200' >>/data/pg/postgresql.conf; run_as postgres $pg/postgres -D /data/pg; }
postgres-hba-missing() { pg_data; rm /data/pg/pg_hba.conf; run_as postgres $pg/postgres -D /data/pg; }
postgres-buffers-too-large() { pg_data; run_as postgres $pg/postgres -D /data/pg -c shared_buffers=900GB; }
postgres-as-root() { pg_data; run $pg/postgres -D /data/pg; }
postgres-key-too-open() {
    pg_data
    openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=db -keyout /data/pg/server.key -out /data/pg/server.crt 2>/dev/null
    chown postgres /data/pg/server.*; chmod 644 /data/pg/server.key
    run_as postgres $pg/postgres -D /data/pg -c ssl=on
}
postgres-wal-missing() { pg_data; rm -rf /data/pg/pg_wal; run_as postgres $pg/postgres -D /data/pg; }
psql-refused() { run psql -h 127.0.0.1 -U app -c 'select 1' shop; }
psql-name() { echo 'nameserver 127.0.0.1' >/etc/resolv.conf; run psql -h orders-db.prod.example -U app -c 'select 1' shop; }

redis-port-taken() { listen_on 6379; run redis-server --bind 127.0.0.1 --save ''; }
redis-damaged-dump() { printf 'REDIS0009\372garbage and no more of it' >/data/dump.rdb; run redis-server --dir /data --port 6390; }
redis-log-directory-missing() { run redis-server --logfile /var/log/queue/redis.log --port 6390; }
redis-acl-missing() { run redis-server --aclfile /etc/redis/users.acl --port 6390; }
redis-append-directory-read-only() {
    mkdir /data/ro && mount -t tmpfs none /data/ro && mount -o remount,ro /data/ro
    run redis-server --dir /data/ro --appendonly yes --port 6390
}

mariadb-socket-refused() { mkdir -p /data/my /run/mysqld; chown mysql /data/my /run/mysqld; run_as mysql mariadbd --datadir=/data/my --socket=/data/m.sock; }
mariadb-directory-empty() { chmod 777 /data; mkdir -p /data/my /run/mysqld; chown mysql /data/my /run/mysqld; run_as mysql mariadbd --datadir=/data/my --socket=/data/m.sock --skip-networking; }
mariadb-unknown-variable() { mkdir -p /data/my; chown mysql /data/my; run_as mysql mariadbd --datadir=/data/my --inodb-buffer-pool-size=64M; }
mariadb-as-root() { mkdir -p /data/my; run mariadbd --datadir=/data/my; }
mariadb-directory-missing() { run_as mysql mariadbd --datadir=/data/nothing --socket=/data/m.sock; }

etcd-port-taken() { listen_on 2379; run etcd --data-dir /data/etcd; }
etcd-directory-unwritable() { mkdir -m 755 /data/etcd; run_as www-data etcd --data-dir /data/etcd; }
etcd-unknown-flag() { run etcd --data-dir /data/etcd --advertise-client-url http://10.9.0.1:2379; }
etcd-name-not-in-cluster() { run etcd --data-dir /data/etcd --name etcd-0 --initial-cluster etcd-1=http://10.9.0.2:2380 --initial-advertise-peer-urls http://10.9.0.1:2380; }

prometheus-bad-yaml() { printf 'global:\n  scrape_interval: 15s\nscrape_configs:\n- job_name: app\n  static_config:\n  - targets: [app:80]\n' >p.yml; run prometheus --config.file=p.yml --storage.tsdb.path=/data/p; }
prometheus-configuration-missing() { run prometheus --config.file=/etc/prom/prometheus.yaml --storage.tsdb.path=/data/p; }
prometheus-storage-unwritable() { echo 'global: {}' >p.yml; mkdir -m 755 /data/p; run_as www-data prometheus --config.file=p.yml --storage.tsdb.path=/data/p --web.listen-address=127.0.0.1:9191; }
prometheus-port-taken() { echo 'global: {}' >p.yml; listen_on 9090; run prometheus --config.file=p.yml --storage.tsdb.path=/data/p --web.listen-address=127.0.0.1:9090; }

haproxy-unknown-keyword() { printf 'defaults\n  mode http\n  timeout conect 5s\nfrontend f\n  bind :8081\n' >h.cfg; run haproxy -db -f h.cfg; }
haproxy-certificate-missing() { printf 'defaults\n  mode http\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\nfrontend f\n  bind :8443 ssl crt /etc/haproxy/certs/site.pem\n' >h.cfg; run haproxy -db -f h.cfg; }

apache-misspelled-directive() { printf 'ServerName x\nListen 8081\nDocumentRot /srv\nLoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so\n' >a.conf; run apache2 -DFOREGROUND -f /srv/a.conf; }
apache-module-missing() { printf 'ServerName x\nListen 8081\nLoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so\nLoadModule auth_kerb_module /usr/lib/apache2/modules/mod_auth_kerb.so\n' >a.conf; run apache2 -DFOREGROUND -f /srv/a.conf; }
apache-port-80-as-user() { printf 'ServerName x\nListen 80\nPidFile /data/a.pid\nErrorLog /dev/stderr\nLoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so\n' >a.conf; chmod 777 /data; run_as www-data apache2 -DFOREGROUND -f /srv/a.conf; }

php-fpm-no-pool() { printf '[global]\nerror_log = /dev/stderr\ndaemonize = no\n' >f.conf; run php-fpm8.2 -F -y /srv/f.conf; }
php-fpm-user-unknown() { printf '[global]\nerror_log = /dev/stderr\n[www]\nuser = webapp\nlisten = 127.0.0.1:9001\npm = static\npm.max_children = 2\n' >f.conf; run php-fpm8.2 -F -y /srv/f.conf; }
php-autoload-missing() { printf '<?php\nrequire __DIR__ . "/vendor/autoload.php";\n' >w.php; run php w.php; }
php-memory() { printf '<?php\n$a = []; while (true) { $a[] = str_repeat("x", 65536); }\n' >w.php; run php -d memory_limit=16M -d display_errors=stderr w.php; }

rabbitmq-cookie-too-open() { mkdir -p /data/r; chown rabbitmq /data/r; echo SECRET >/data/r/.erlang.cookie; chown rabbitmq /data/r/.erlang.cookie; chmod 644 /data/r/.erlang.cookie; run_as rabbitmq env HOME=/data/r RABBITMQ_MNESIA_BASE=/data/r RABBITMQ_LOG_BASE=/data/r /usr/lib/rabbitmq/bin/rabbitmq-server; }
rabbitmq-bad-configuration() { mkdir -p /data/r; chown rabbitmq /data/r; printf 'listeners.tcp.default = 5672\nvm_memory_high_watermark.relativ = 0.4\n' >/data/r.conf; run_as rabbitmq env HOME=/data/r RABBITMQ_MNESIA_BASE=/data/r RABBITMQ_LOG_BASE=/data/r RABBITMQ_CONFIG_FILE=/data/r.conf /usr/lib/rabbitmq/bin/rabbitmq-server; }

java-no-main-in-jar() { mkdir m; echo x >m/x; (cd m && jar cf ../app.jar x); run java -jar app.jar; }
java-heap-larger-than-memory() { printf 'public class A { public static void main(String[] a) {} }' >A.java; javac A.java; run java -Xms900g -Xmx900g A; }
java-out-of-heap() { printf 'import java.util.*; public class A { public static void main(String[] a) { List<byte[]> l = new ArrayList<>(); while (true) l.add(new byte[1 << 20]); } }' >A.java; javac A.java; run java -Xmx24m A; }
java-nested-unknown-host() {
    echo 'nameserver 127.0.0.1' >/etc/resolv.conf
    cat >A.java <<'X'
import java.net.*;
public class A {
    static class PoolException extends RuntimeException { PoolException(String m, Throwable c) { super(m, c); } }
    static void connect() { try { new Socket("ledger-db.prod.example", 5432); } catch (Exception e) { throw new PoolException("Failed to initialize pool", e); } }
    public static void main(String[] a) { try { connect(); } catch (RuntimeException e) { throw new IllegalStateException("Application run failed", e); } }
}
X
    javac A.java; run java A
}
java-bind() { printf 'import java.net.*; public class A { public static void main(String[] a) throws Exception { new ServerSocket(8099); } }' >A.java; javac A.java; listen_on 8099; run java A; }
java-tomcat-keystore() { printf 'import java.security.*; import java.io.*; public class A { public static void main(String[] a) throws Exception { KeyStore k = KeyStore.getInstance("JKS"); k.load(new FileInputStream("/etc/ssl/app.jks"), "x".toCharArray()); } }' >A.java; javac A.java; run java A; }

node-out-of-heap() { echo 'const a = []; while (true) a.push(new Array(100000).fill("x" + Math.random()));' >s.js; run node --max-old-space-size=24 s.js; }
node-unhandled-refused() { echo 'async function start() { await fetch("http://127.0.0.1:3999/config"); } start();' >s.js; run node s.js; }
node-bad-json() { echo '{"port": 80,}' >config.json; echo 'const c = require("./config.json"); console.log(c.port);' >s.js; run node s.js; }

gunicorn-no-application() { echo 'app = None' >shop.py; run gunicorn -b 127.0.0.1:8097 shopp:app; }
gunicorn-application-raises() { printf 'import os\nsecret = os.environ["SECRET_KEY"]\ndef app(e, s): pass\n' >shop.py; run gunicorn -b 127.0.0.1:8097 shop:app; }
gunicorn-port-taken() { printf 'def app(e, s): pass\n' >shop.py; listen_on 8097; run gunicorn -b 127.0.0.1:8097 shop:app; }
alembic-no-configuration() { run alembic upgrade head; }
python-sqlalchemy-refused() { printf 'import sqlalchemy\nsqlalchemy.create_engine("postgresql+psycopg2://app:x@127.0.0.1:5439/shop").connect()\n' >m.py; run python3 m.py; }
supervisord-configuration-missing() { run supervisord -n -c /etc/supervisor/app.conf; }
supervisord-bad-section() { printf '[supervisord]\nnodaemon=true\n[program:web]\ndirectory=/srv\n' >s.conf; run supervisord -n -c /srv/s.conf; }
uwsgi-port-taken() { listen_on 3031; run uwsgi-core --plugin python3 --socket 127.0.0.1:3031 --die-on-term --need-app; }
uwsgi-no-application() { run uwsgi-core --plugin python3 --socket 127.0.0.1:3032 --need-app --module shop.wsgi; }

puma-gem-missing() { printf 'require "sinatra"\nrun Sinatra::Application\n' >config.ru; run puma -b tcp://127.0.0.1:9299 config.ru; }
puma-port-taken() { printf 'run ->(e) { [200, {}, []] }\n' >config.ru; listen_on 9298; run puma -b tcp://127.0.0.1:9298 config.ru; }

git-dubious-ownership() { mkdir repo && git -C repo init -q && chown -R nobody repo; run git -C repo log; }
git-clone-name() { echo 'nameserver 127.0.0.1' >/etc/resolv.conf; run git clone https://git.internal.example/shop.git; }

dnsmasq-port-taken() { listen_on 5300; run dnsmasq -k --port=5300 --listen-address=127.0.0.1 --bind-interfaces --conf-file=/dev/null --user=root; }
named-semicolon-missing() { printf 'options { directory "/srv"; listen-on port 5301 { 127.0.0.1; }; pid-file "/data/n.pid"; };\nzone "shop.example" { type master; file "shop.db"; }\n' >n.conf; run named -g -c /srv/n.conf; }
unbound-key-missing() { printf 'server:\n  port: 5302\n  chroot: ""\n  directory: "/srv"\n  auto-trust-anchor-file: "/data/keys/root.key"\n  username: ""\nremote-control:\n  control-enable: yes\n  server-key-file: /data/u.key\n' >u.conf; run unbound -d -c /srv/u.conf; }
squid-bad-access-list() { printf 'http_port 3128\nacl office src 10.0.0.0/8\nhttp_access allow ofice\n' >q.conf; run squid -N -f /srv/q.conf; }
varnish-backend-name() { echo 'nameserver 127.0.0.1' >/etc/resolv.conf; printf 'vcl 4.0;\nbackend default { .host = "app.internal.example"; .port = "80"; }\n' >v.vcl; run varnishd -F -a 127.0.0.1:6081 -f /srv/v.vcl -n /data/v; }
sshd-no-host-keys() { mkdir -p /run/sshd; rm -f /etc/ssh/ssh_host_*; run /usr/sbin/sshd -D -e -p 2299; }
sshd-separation-directory() { rm -rf /run/sshd; ssh-keygen -q -t ed25519 -N '' -f /data/k; run /usr/sbin/sshd -D -e -p 2299 -h /data/k; }
stunnel-certificate-missing() { printf 'foreground = yes\n[db]\naccept = 127.0.0.1:7432\nconnect = 127.0.0.1:5432\ncert = /etc/stunnel/db.pem\n' >t.conf; run stunnel4 /srv/t.conf; }
mosquitto-password-file() { printf 'listener 1899 127.0.0.1\npassword_file /etc/mosquitto/users\n' >m.conf; run mosquitto -c /srv/m.conf; }
memcached-as-root() { run memcached -p 11299; }
tor-bad-option() { printf 'SocksPort 9059\nExitPolice reject *:*\n' >tor.conf; run tor -f /srv/tor.conf; }
registry-bad-configuration() { printf 'version: 0.1\nstorage:\n  filesystm:\n    rootdirectory: /data\nhttp:\n  addr: 127.0.0.1:5099\n' >r.yml; run docker-registry serve /srv/r.yml; }
postfix-data-directory() { run /usr/lib/postfix/sbin/master -c /etc/postfix-app -d; }
slapd-configuration-missing() { run slapd -d 0 -f /etc/ldap/app.conf -h ldap://127.0.0.1:3899; }
beanstalkd-binlog() { run beanstalkd -l 127.0.0.1 -p 11399 -b /data/queue; }

go_run() { cat >m.go; HOME=/data GOCACHE=/data/gc GOFLAGS=-mod=mod go build -o app m.go 2>/data/go.log && run ./app; }
go-nil-map() { printf 'package main\n\nfunc put(m map[string]int) { m["a"] = 1 }\n\nfunc main() {\n\tvar m map[string]int\n\tput(m)\n}\n' | go_run; }
go-log-fatal-listen() { listen_on 8095; printf 'package main\n\nimport (\n\t"log"\n\t"net/http"\n)\n\nfunc main() {\n\tlog.Fatal(http.ListenAndServe("127.0.0.1:8095", nil))\n}\n' | go_run; }
go-wrapped-dial() { printf 'package main\n\nimport (\n\t"fmt"\n\t"net"\n\t"os"\n)\n\nfunc main() {\n\t_, err := net.Dial("tcp", "127.0.0.1:6399")\n\tif err != nil {\n\t\tfmt.Fprintf(os.Stderr, "level=error msg=\\"cache unavailable\\" err=%%q\\n", err.Error())\n\t\tos.Exit(2)\n\t}\n}\n' | go_run; }
go-deadlock() { printf 'package main\n\nfunc main() {\n\tc := make(chan int)\n\t<-c\n}\n' | go_run; }
rust-unwrap() { printf 'fn main() {\n    let port: u16 = std::env::args().nth(1).unwrap_or("eighty".into()).parse().unwrap();\n    println!("{port}");\n}\n' >m.rs; rustc m.rs -o app 2>/dev/null; run ./app; }
rust-expect-file() { printf 'fn main() {\n    let text = std::fs::read_to_string("/etc/relay/relay.toml").expect("configuration");\n    println!("{text}");\n}\n' >m.rs; rustc m.rs -o app 2>/dev/null; run ./app; }
ruby-nested-cause() { cat >a.rb <<'X'
class ConfigError < StandardError; end
def load
  File.read("/etc/shop/database.yml")
rescue SystemCallError
  raise ConfigError, "cannot start without a database"
end
load
X
run ruby a.rb; }
