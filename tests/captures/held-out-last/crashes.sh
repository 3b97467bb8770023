# Crashes that nobody wrote rules for; see ../record.sh, with restarts=2. seccomp-no-threads takes ./deny-clone3: a program that
# executes its arguments under a seccomp filter which answers clone3(2) with EPERM.
soon_term() { for i in 1 2; do until [ -s pid ]; do sleep 0.1; done; sleep 0.2; kill -TERM $(cat pid); rm -f pid; done; }
py() { cat >app.py; run python3 app.py; }
script() { cat >"$1"; chmod 755 "$1"; run "./$1"; }
abort-in-pid1() { cat >journald2.c <<'X'
#include <assert.h>
#include <stdio.h>
int main(int n,char**v){puts("journal: replaying");fflush(stdout);assert(n>5 && "segment header mismatch");return 0;}
X
    gcc -o journald2 journald2.c; run unshare --pid --fork ./journald2
}
alarm-handled-then-error() { py <<'X'
import signal, sys, time
def late(*_): raise TimeoutError("snapshot was not taken within 1 s")
signal.signal(signal.SIGALRM, late)
signal.alarm(1)
try:
    time.sleep(20)
except TimeoutError as e:
    print("snapshotter:", e, file=sys.stderr); sys.exit(4)
X
}
entity-path-unrelated() { py <<'X'
import sys
try: open("/etc/mixer/presets.json")
except OSError: pass
print("mixer: sample rate 0 is not supported. Presets come from /etc/mixer/presets.json. See the manual for a file that does not exist.", file=sys.stderr)
sys.exit(1)
X
}
exec-text-no-shebang-python() { printf 'print(1)\n' >tool; chmod 644 tool; script start.sh <<'X'
#!/usr/bin/python3
import os
os.execv("./tool", ["tool"])
X
}
log-level-lines() { py <<'X'
import sys
print('{"level":"info","msg":"starting","missing":"none"}')
print('{"level":"error","msg":"schema version 9 is newer than supported 7"}')
print('{"level":"info","msg":"shutdown complete"}')
sys.exit(1)
X
}
perl-die-open() { run perl -e 'open my $f, "<", "/etc/heron/wings.yml" or die "heron: wings: $!\n";'; }
phrase-cannot-find-module-prose() { run node -e 'console.error("planner: Cannot find module 7 of course CS-101 in the catalogue"); process.exit(1)'; }
psql-like-refused() { py <<'X'
import socket, sys
try: socket.create_connection(("127.0.0.1", 5432))
except OSError as e: sys.exit(f'could not connect to server: {e.strerror}\n\tIs the server running on host "127.0.0.1" and accepting\n\tTCP/IP connections on port 5432?')
X
}
queue-notify-term() { cat >courier.c <<'X'
#include <mqueue.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>
int main(){mq_unlink("/w5q");mqd_t q=mq_open("/w5q",O_CREAT|O_RDWR,0600,0);struct sigevent e={0};e.sigev_notify=SIGEV_SIGNAL;e.sigev_signo=SIGTERM;
mq_notify(q,&e);if(!fork()){usleep(100000);mq_send(q,"x",1,0);_exit(0);}for(;;)pause();}
X
    gcc -o courier courier.c -lrt; run ./courier
}
random-tmp-readonly() { mount -o remount,ro /data; py <<'X'
import tempfile
tempfile.NamedTemporaryFile(dir="/data")
X
}
redis-bad-dir() { printf 'dir /var/lib/ostrich\nport 7777\n' >redis.conf; run redis-server /srv/redis.conf; }
seccomp-no-threads() { run ./deny-clone3 node -e 0; }
term-handled-then-file() { soon_term & cat >app.py <<'X'
import os, signal, time
signal.signal(signal.SIGTERM, lambda *a: None)
open('/srv/pid','w').write(str(os.getpid()))
for _ in range(30): time.sleep(0.1)
open("/etc/ferry/timetable.json")
X
run python3 app.py; }
timeout-in-script() { script start.sh <<'X'
#!/bin/bash
set -e
echo "warming cache"
timeout 1 sleep 20
echo ok
X
}
tolerated-write-then-parse() { mount -o remount,ro /data; py <<'X'
import json, sys
try: open("/data/cache.bin", "w")
except OSError as e: print("cache disabled:", e, file=sys.stderr)
try: json.loads("[1, 2,, 3]")
except ValueError as e:
    print("rules are no JSON:", e, file=sys.stderr); sys.exit(1)
X
}
zero-after-failed-child() { script start.sh <<'X'
#!/bin/sh
echo "starting importer"
python3 -c 'import sys; sys.exit("importer: row 17: currency code is empty")'
echo "start script done"
X
}
