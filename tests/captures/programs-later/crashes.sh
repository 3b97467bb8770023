# More crashes of programs from Debian's packages, after reports of people who ran them in containers; see record.sh
# and README.md. Nobody looked at a verdict before all of them were written and labelled. They need these packages of
# Debian 12: borgbackup buildbot bundler caddy celery composer dovecot-core freeradius gosu hitch icecast2 influxdb
# kea-dhcp4-server mariadb-client monit msmtp nats-server nginx-light node-express nsd opendkim openssl openvpn patroni
# pdns-server pgbackrest pgbouncer php-mysql postgresql prometheus-alertmanager prometheus-blackbox-exporter
# prometheus-mysqld-exporter prometheus-pushgateway python3-django python3-redis rclone redis-server restic
# libdbd-pg-perl ruby-sidekiq sqitch sslh starman tini tinyproxy unicorn uvicorn

run_as() { local user=$1; shift; run setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups "$@"; }
listen_on() { python3 -c "
import socket, time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('0.0.0.0', $1)); s.listen(); time.sleep(60)" & sleep 0.5; }
# close_on PORT: accepts, reads a little, closes.
close_on() { python3 -c "
import socket, struct
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('127.0.0.1', $1)); s.listen()
while True:
    c = s.accept()[0]; c.recv(100); c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); c.close()" & sleep 0.5; }
# A disk of SIZE at /data/v.
new_volume() { mkdir /data/v && mount -t tmpfs -o mode=777,size="$1" none /data/v; }
read_only() { mkdir -p "$1" && mount -t tmpfs none "$1" && mount -o remount,ro "$1"; }
new_certificate() { openssl req -x509 -newkey rsa:2048 -nodes -subj "/CN=$1" -keyout "/data/$1.key" -out "/data/$1.crt" 2>/dev/null; }
pg=/usr/lib/postgresql/15/bin
pg_serve() {
    mkdir -p /data/pg /var/run/postgresql && chown postgres /data/pg /var/run/postgresql && chmod 700 /data/pg
    echo right >/data/pw && chmod 644 /data/pw
    setpriv --reuid=postgres --regid=postgres --clear-groups $pg/initdb -D /data/pg -U postgres -A scram-sha-256 --pwfile=/data/pw >/dev/null 2>&1
    setpriv --reuid=postgres --regid=postgres --clear-groups $pg/postgres -D /data/pg -h 127.0.0.1 >/dev/null 2>&1 &
    sleep 3
}

# Web servers and proxies
nginx-pid-read-only() { read_only /run/nginx; printf 'pid /run/nginx/nginx.pid;\nerror_log stderr;\nevents {}\nhttp { access_log off; client_body_temp_path /data/b; proxy_temp_path /data/p; server { listen 8081; } }\n' >n.conf; run nginx -c /srv/n.conf -g 'daemon off;'; }
nginx-key-does-not-fit() { new_certificate a; new_certificate b; printf 'error_log stderr;\nevents {}\nhttp { server { listen 8443 ssl; ssl_certificate /data/a.crt; ssl_certificate_key /data/b.key; } }\n' >n.conf; run nginx -c /srv/n.conf -g 'daemon off;'; }
nginx-module-missing() { printf 'load_module modules/ngx_http_brotli_filter_module.so;\nerror_log stderr;\nevents {}\n' >n.conf; run nginx -c /srv/n.conf -g 'daemon off;'; }
caddy-unrecognized-directive() { printf ':8082 {\n  reverse_prxy app:80\n}\n' >Caddyfile; run caddy run --config Caddyfile --adapter caddyfile; }
caddy-port-80-as-user() { printf ':80 {\n  respond ok\n}\n' >Caddyfile; run_as www-data env HOME=/tmp caddy run --config /srv/Caddyfile --adapter caddyfile; }
hitch-broken-pem() { echo 'not a certificate' >/data/site.pem; run hitch --frontend='[127.0.0.1]:8444' --backend='[127.0.0.1]:80' /data/site.pem; }
tinyproxy-bad-line() { printf 'Port 8888\nListenn 127.0.0.1\n' >t.conf; run tinyproxy -d -c /srv/t.conf; }
sslh-port-taken() { listen_on 8445; run sslh -f -u nobody -p 127.0.0.1:8445 --ssh 127.0.0.1:22; }

# Databases and what speaks with them
psql-wrong-password() { pg_serve; run env PGPASSWORD=wrong psql -h 127.0.0.1 -U postgres -c 'select 1'; }
psql-database-missing() { pg_serve; run env PGPASSWORD=right psql -h 127.0.0.1 -U postgres -c 'select 1' shop; }
psql-migration-fails() { pg_serve; printf 'alter table orders add column paid boolean;\n' >001.sql; run env PGPASSWORD=right psql -v ON_ERROR_STOP=1 -h 127.0.0.1 -U postgres -f 001.sql; }
psql-script-ends-zero() { pg_serve; printf 'alter table orders add column paid boolean;\n' >001.sql; run env PGPASSWORD=right psql -h 127.0.0.1 -U postgres -f 001.sql; }
postgres-lock-of-another() { pg_serve; run_as postgres $pg/postgres -D /data/pg -p 5433; }
initdb-directory-not-empty() { mkdir -p /data/pg/lost+found; chown -R postgres /data/pg; run_as postgres $pg/initdb -D /data/pg; }
initdb-locale-missing() { mkdir /data/pg; chown postgres /data/pg; run_as postgres $pg/initdb -D /data/pg --locale=de_DE.UTF-8; }
initdb-user-missing() { mkdir /data/pg; chown 1234 /data/pg; run setpriv --reuid=1234 --regid=1234 --clear-groups $pg/initdb -D /data/pg; }
initdb-disk-full() { new_volume 8m; run_as postgres $pg/initdb -D /data/v/pg; }
pgbouncer-configuration-of-users() { printf '[databases]\nshop = host=127.0.0.1\n[pgbouncer]\nlisten_port = 6433\nauth_typ = md5\n' >b.ini; run_as nobody pgbouncer /srv/b.ini; }
pgbouncer-as-root() { printf '[databases]\n[pgbouncer]\nlisten_port = 6433\n' >b.ini; run pgbouncer /srv/b.ini; }
pgbackrest-option-of-another-command() { run pgbackrest --stanza=main --repo1-path=/data/repo --lock-path=/data --log-path=/data check; }
patroni-bad-yaml() { printf 'scope: main\nname: a\n  restapi:\n listen: 1\n' >p.yml; run patroni /srv/p.yml; }
sqitch-refused() { run sqitch deploy db:pg://127.0.0.1/shop; }
redis-cli-connection-closed() { close_on 6395; run redis-cli -p 6395 ping; }
redis-bind-address() { run redis-server --port 6390 --bind 192.0.2.7; }
redis-client-no-answer() { printf 'import redis\nredis.Redis(port=6396, socket_timeout=2).ping()\n' >w.py; listen_on 6396; run python3 w.py; }
influxd-directory-unwritable() { mkdir -m 755 /data/i; run influxd config >/dev/null; printf '[meta]\n  dir = "/data/i/meta"\n[data]\n  dir = "/data/i/data"\n  wal-dir = "/data/i/wal"\n' >i.conf; run_as nobody influxd -config /srv/i.conf; }
nats-bad-configuration() { printf 'port: 4333\nauthorization { user: a\n' >n.conf; run nats-server -c /srv/n.conf; }
nats-store-read-only() { read_only /data/js; printf 'port: 4333\njetstream { store_dir: "/data/js/store" }\n' >n.conf; run nats-server -c /srv/n.conf; }

# Monitoring, backup
alertmanager-no-route() { printf 'global: {}\nreceivers:\n- name: ops\n' >a.yml; run prometheus-alertmanager --config.file=a.yml --storage.path=/data/a; }
blackbox-unknown-module-field() { printf 'modules:\n  web:\n    probr: http\n' >b.yml; run prometheus-blackbox-exporter --config.file=b.yml; }
pushgateway-unknown-flag() { run prometheus-pushgateway --persistance.file=/data/p; }
mysqld-exporter-no-credentials() { run prometheus-mysqld-exporter --config.my-cnf=/etc/exporter/my.cnf; }
restic-nothing-there() { run restic -r /data/r backup /etc/hostname; }
restic-no-repository() { run env RESTIC_PASSWORD=x restic -r /data/r snapshots; }
restic-wrong-password() { RESTIC_PASSWORD=right restic -r /data/r init >/dev/null 2>&1; run env RESTIC_PASSWORD=wrong restic -r /data/r snapshots; }
borg-lock() { export BORG_BASE_DIR=/data/b; borg init -e none /data/r; mkdir /data/r/lock.exclusive; touch "/data/r/lock.exclusive/other@1.1-0"; run env BORG_BASE_DIR=/data/b borg --lock-wait 1 list /data/r; }
rclone-no-remote() { run rclone sync /srv offsite:backup; }
monit-control-file-open() { echo 'set daemon 30' >m; chmod 644 m; run monit -I -c /srv/m; }

# Mail, names, chat, networks
dovecot-file-of-setting-missing() { printf 'protocols = imap\nssl_certificate = </data/x\n' >d.conf; run dovecot -F -c /srv/d.conf; }
dovecot-certificate-missing() { printf 'protocols = imap\nssl = required\nssl_cert = </etc/dovecot/tls.crt\nssl_key = </etc/dovecot/tls.key\n' >d.conf; run dovecot -F -c /srv/d.conf; }
msmtp-no-account() { run sh -c 'echo hello | msmtp ops@example.org'; }
opendkim-key-missing() { printf 'Domain example.org\nSelector s\nKeyFile /etc/dkim/s.private\nSocket inet:8891@127.0.0.1\n' >o.conf; run opendkim -f -x /srv/o.conf; }
pdns-backend-missing() { run pdns_server --daemon=no --guardian=no --config-dir=/srv --launch=gmysql; }
nsd-zone-list() { printf 'server:\n  port: 5303\nzone:\n  nme: shop.example\n' >n.conf; run nsd -d -c /srv/n.conf; }
freeradius-bad-client() { cp -r /etc/freeradius/3.0 /data/fr; printf 'client x {\n' >>/data/fr/clients.conf; run freeradius -f -l stdout -d /data/fr; }
openvpn-no-authentication() { printf 'client\ndev tun\nremote 10.9.0.5\nca /etc/openvpn/ca.crt\n' >o.conf; run openvpn --config /srv/o.conf; }
icecast-as-root() { printf '<icecast><listen-socket><port>8001</port></listen-socket></icecast>\n' >i.xml; run icecast2 -c /srv/i.xml; }
kea-run-directory-missing() { echo '{ "Dhcp4": { "interfaces-config": { "interfaces": ["eth0"], } ' >k.json; run kea-dhcp4 -c /srv/k.json; }

# Applications
django-settings-missing() { run env DJANGO_SETTINGS_MODULE=shop.settings django-admin migrate; }
django-database-engine() { printf 'DATABASES = {}\nINSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes"]\n' >s.py; run env PYTHONPATH=/srv DJANGO_SETTINGS_MODULE=s django-admin migrate; }
uvicorn-attribute-missing() { echo 'application = None' >shop.py; run uvicorn --port 8098 --app-dir /srv shop:app; }
celery-broker-refused() { printf 'from celery import Celery\napp = Celery("w", broker="redis://127.0.0.1:6397/0")\napp.conf.broker_connection_retry = False\napp.conf.broker_connection_max_retries = 1\n' >w.py; run celery -A w worker -P solo; }
python-user-missing() { printf 'import getpass\nprint(getpass.getuser())\n' >w.py; run setpriv --reuid=1000770000 --regid=0 --clear-groups python3 w.py; }
python-processes-limit() { printf 'import threading, time\nfor i in range(50): threading.Thread(target=time.sleep, args=(5,), daemon=True).start()\n' >w.py; run setpriv --reuid=4711 --regid=4711 --clear-groups prlimit --nproc=8 python3 w.py; }
python-other-architecture-module() { mkdir m; printf '\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\3\0\267\0\1\0\0\0' >m/fast.so; head -c 4096 /dev/zero >>m/fast.so; printf 'import sys\nsys.path.insert(0, "/srv/m")\nimport fast\n' >w.py; run python3 w.py; }
unicorn-gem-in-gemfile() { printf 'source "https://rubygems.org"\ngem "pg"\ngem "kaminari"\n' >Gemfile; run bundle exec unicorn -l 127.0.0.1:9297; }
sidekiq-require() { run sidekiq -r /srv/shop/config/environment.rb; }
node-module-wrong-architecture() { printf '\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\3\0\267\0\1\0\0\0' >b.node; head -c 4096 /dev/zero >>b.node; echo 'require("./b.node")' >s.js; run node s.js; }
node-certificate-self-signed() { new_certificate localhost; openssl s_server -accept 8446 -cert /data/localhost.crt -key /data/localhost.key -quiet & sleep 1; echo 'require("https").get("https://localhost:8446/", r => r.resume());' >s.js; run node s.js; }
starman-address-of-both-families() { printf 'use Dancer2;\n' >app.psgi; run starman --port 9296 app.psgi; }
composer-platform() { printf '{"require": {"php": ">=8.3"}}\n' >composer.json; run env COMPOSER_ALLOW_SUPERUSER=1 composer install --no-interaction; }
php-pdo-refused() { printf '<?php\nnew PDO("mysql:host=127.0.0.1;port=3399", "a", "b");\n' >w.php; run php -d display_errors=stderr w.php; }
buildbot-no-master() { run buildbot start --nodaemon /data/master; }
entrypoint-waits-in-vain() { printf '#!/bin/bash\nset -e\nfor i in 1 2 3; do pg_isready -h 127.0.0.1 -p 5444 && break; sleep 0.3; done\npg_isready -q -h 127.0.0.1 -p 5444\nexec redis-server\n' >e.sh; chmod +x e.sh; run ./e.sh; }
entrypoint-goes-on() { printf '#!/bin/bash\nchown -R redis /data/q\nexec setpriv --reuid=redis redis-server --port 6390 --dir /data/q\n' >e.sh; chmod +x e.sh; run ./e.sh; }
gosu-user-missing() { run gosu appuser redis-server; }
tini-no-program() { run tini -- /usr/local/bin/shop-server; }
