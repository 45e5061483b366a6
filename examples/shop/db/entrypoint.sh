#!/bin/sh
# Makes the database in an empty volume, then becomes the server. Starts as root, because the volume may belong to root.
set -eu
umask 077

volume=$(dirname "$PGDATA")
chown postgres:postgres "$volume"
chmod 700 "$volume"
install -d -o postgres -g postgres -m 755 /run/postgresql

as_postgres() { setpriv --reuid=postgres --regid=postgres --init-groups "$@"; }
quoted() { printf '%s' "$1" | sed "s/'/''/g"; }

if [ ! -e "$PGDATA" ]; then
    # A new cluster gets its name only when it is complete: a start that was cut short begins again.
    fresh=$PGDATA.new
    rm -rf "$fresh"
    as_postgres initdb --pgdata="$fresh" --username=postgres --encoding=UTF8 --locale=C.UTF-8 \
        --auth-local=peer --auth-host=scram-sha-256 >/dev/null
    echo "host all all all scram-sha-256" >>"$fresh/pg_hba.conf"
    as_postgres postgres --single -D "$fresh" postgres >/dev/null <<SQL
CREATE ROLE "$DB_USER" LOGIN PASSWORD '$(quoted "$DB_PASSWORD")'
CREATE DATABASE "$DB_NAME" OWNER "$DB_USER"
SQL
    mv "$fresh" "$PGDATA"
    echo "made database $DB_NAME" >&2
fi

# Left behind where the server was killed; the process table is new, so the number in it means nothing.
rm -f "$PGDATA/postmaster.pid"

exec setpriv --reuid=postgres --regid=postgres --init-groups \
    postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/run/postgresql \
    -c max_connections=200 -c shared_buffers=64MB -c log_destination=stderr -c logging_collector=off "$@"
