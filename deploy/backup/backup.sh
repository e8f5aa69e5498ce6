#!/bin/sh
# Every night, by rootdx-backup.timer, as root: the whole database and the settings into a folder of the day.
#
# In /etc/default/rootdx-backup, a line each: FOLDER=/backup (which must be there: a disk that is not mounted is no new
# folder), KEEP=14 (days), and with Docker COMPOSE=/path/of/compose.yaml's/folder (then FOLDER is `backup` in it).
# A folder that has the name of a day is complete; one that ends in .part is not, and the next run begins it anew.
# Keys and passwords are not in it. What happens to it in the end: the chapter "Backup and restore" of the runbook.
set -eu
umask 077

compose=${COMPOSE:-}
folder=${FOLDER:-${compose:+$compose/backup}}
folder=${folder:-/backup}
keep=${KEEP:-14}
day=$(date +%F)

fail() { echo "backup.sh: $*" >&2; exit 1; }

[ -d "$folder" ] || fail "$folder is not there: mount the disk, or name another one as FOLDER in /etc/default/rootdx-backup"
case $keep in ''|*[!0-9]*|0) fail "KEEP=$keep: expected a number of days, 1 or more";; esac

if [ -n "$compose" ]; then
    as_owner() { docker compose --project-directory "$compose" exec -T --user root database "$@"; }
    as_postgres() { docker compose --project-directory "$compose" exec -T --user postgres database "$@"; }
    seen=/backup settings=$compose
else
    as_owner() { "$@"; }
    as_postgres() { (cd / && runuser -u postgres -- "$@"); }
    seen=$folder settings=${SETTINGS:-/etc/rootdx}
fi

part=$day.part
rm -rf "${folder:?}/$part"
as_owner install -d -m 0711 "$seen/$part"
as_owner install -d -o postgres -g postgres -m 0700 "$seen/$part/database"
as_postgres pg_basebackup --pgdata "$seen/$part/database" --format tar --gzip --checkpoint fast --wal-method stream \
    --no-password || fail "pg_basebackup failed; $folder/$part is not complete"
for file in "$folder/$part/database"/*.tar.gz; do gzip --test "$file"; done
tar --create --gzip --file "$folder/$part/settings.tar.gz" --exclude='*.key' --exclude='*.password' --exclude=secrets \
    --exclude=backup --directory "$(dirname "$settings")" "$(basename "$settings")"
sync -f "$folder/$part"
rm -rf "${folder:?}/$day"
mv "$folder/$part" "$folder/$day"

find "$folder" -maxdepth 1 -type d -name '????-??-??' | sort -r | tail -n "+$((keep + 1))" | while read -r old; do
    rm -rf "$old"
done
echo "$folder/$day is complete, $(du -sh "$folder/$day" | cut -f1)"
