# What the crashes of both held-out sets need.

as_user() { run setpriv --reuid=1000 --regid=1000 --clear-groups "$@"; }
listen_on() {
    python3 -c "import socket, time; s = socket.socket(); s.setsockopt(1, 2, 1); s.bind(('0.0.0.0', $1)); s.listen(); time.sleep(60)" &
    sleep 1
}
compile_it() { gcc -O0 -w -o app app.c; }
# A name server that knows no name.
no_names() {
    echo 'nameserver 127.0.0.1' >/srv/resolv.conf && mount --bind /srv/resolv.conf /etc/resolv.conf
    python3 - <<'X' &
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 53))
while True:
    q, a = s.recvfrom(512)
    s.sendto(q[:2] + b"\x81\x83" + q[4:6] + b"\0\0\0\0\0\0" + q[12:], a)
X
    sleep 1
}
