#!/bin/bash
# Runs the web server and the application behind it as one: they start together, and when one ends both do.
# On the stop signal the web server goes first and finishes what it has, so that the application is still there for it.
set -u

python3 /srv/app/guestbook.py &
app=$!
# The port opens when everything behind it is there.
while kill -0 "$app" 2>/dev/null && [ ! -S /run/shop.sock ]; do sleep 0.02; done
nginx -c /etc/nginx/nginx.conf &
web=$!
stopping=
trap 'stopping=yes; kill -QUIT "$web" 2>/dev/null' QUIT TERM INT

ended=
while [ -z "$ended" ]; do
    wait -n -p ended "$app" "$web"
    status=$?
    # A signal ends the wait too, and then no process has.
    [ -n "${ended:-}" ] || ended=
done

kill -QUIT "$web" 2>/dev/null
while kill -0 "$web" 2>/dev/null; do wait "$web"; done
kill -TERM "$app" 2>/dev/null
while kill -0 "$app" 2>/dev/null; do wait "$app"; done
[ -n "$stopping" ] && exit 0
echo "a process of the shop ended by itself with status $status" >&2
exit 1
