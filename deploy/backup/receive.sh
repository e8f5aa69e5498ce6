#!/bin/sh
# On another computer, all the time, by rootdx-wal.service: the log of the database, as it is written.
#
# SERVER=database in /etc/default/rootdx-wal: the name of the server, as its certificate has it. The slot `backup` makes
# the server keep what has not arrived here, up to max_slot_wal_keep_size of plant.conf.
set -eu
umask 077

[ -n "${SERVER:-}" ] || { echo "receive.sh: write SERVER=database into /etc/default/rootdx-wal" >&2; exit 78; }

# A file of its own: libpq takes a password from none that others might read, which it thinks of systemd's.
printf '*:*:*:*:%s\n' "$(head -n 1 "$CREDENTIALS_DIRECTORY/replica.password")" > "$RUNTIME_DIRECTORY/pgpass"
export PGPASSFILE="$RUNTIME_DIRECTORY/pgpass" PGHOST="$SERVER" PGUSER=replica

pg_receivewal --no-password --slot backup --create-slot --if-not-exists
exec pg_receivewal --no-password --slot backup --directory "$STATE_DIRECTORY" --synchronous
