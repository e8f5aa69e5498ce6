#!/bin/sh
# One process a core for a scheduler, by rootdx-worker.service. In /etc/default/rootdx-worker:
# SCHEDULER=tls://10.0.0.5:8786, and where they are not these DATABASE=database:5432/rootdx, WORKERS=auto.
set -eu
umask 077

[ -n "${SCHEDULER:-}" ] || { echo "worker.sh: write SCHEDULER=tls://host:8786 into /etc/default/rootdx-worker" >&2; exit 78; }
case $SCHEDULER in tls://*) ;; *) echo "worker.sh: SCHEDULER=$SCHEDULER: expected tls://host:8786" >&2; exit 78;; esac

given=$CREDENTIALS_DIRECTORY
# A file of its own: libpq takes a password from none that others might read, which it thinks of systemd's.
printf '*:*:*:*:%s\n' "$(head -n 1 "$given/rootdx_analytics.password")" > "$RUNTIME_DIRECTORY/pgpass"
export PGPASSFILE="$RUNTIME_DIRECTORY/pgpass" PGSSLMODE="${PGSSLMODE:-verify-full}" PGSSLROOTCERT="$given/database-ca.pem"
export ROOTDX_STORE_DSN="postgresql://rootdx_analytics@${DATABASE:-database:5432/rootdx}"

exec "${DASK:-/opt/rootdx/bin/dask}" worker "$SCHEDULER" --nworkers "${WORKERS:-auto}" --nthreads 1 --no-dashboard \
    --local-directory "$CACHE_DIRECTORY" --tls-ca-file "$given/ca.pem" --tls-cert "$given/compute.pem" --tls-key "$given/compute.key"
