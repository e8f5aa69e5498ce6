#!/bin/sh
# Installs rootdx on Debian 12 or later, without a network, or upgrades it. As root: sh install.sh
#
# An upgrade goes in this order, and where a step fails the version before runs on:
#   1. the new program is laid beside the one that runs;
#   2. where the administrator's password lies, on the computer of the database, the new program brings the tables to its
#      schema, under which the programs of the version before run on; elsewhere there is nothing to do;
#   3. it takes the other one's place, and every rootdx service that runs is restarted, those of companies too.
# The same bundle once more changes nothing.
#
# Settings, secrets and machine files that are there already stay as they are; new samples lie beside them as *.new.
# The version before stays in /opt/rootdx/releases: `ln -sfn /opt/rootdx/releases/OLD/bin /opt/rootdx/bin` goes back.
# DESTDIR=/somewhere installs below that folder and makes no user; systemd is told where it runs there.
set -eu
umask 022

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=${DESTDIR:-}
python=${PYTHON:-python3}
etc=$root/etc/rootdx

fail() { echo "install.sh: $*" >&2; exit 1; }

[ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "run it as root / root로 실행하십시오"
cd "$here"
sha256sum --check --quiet --strict SHA256SUMS || fail "a file is damaged: copy the bundle again / 파일이 손상되었습니다. 묶음을 다시 복사하십시오"
wanted=$(cat PYTHON)
found=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || fail "no $python: Debian's package python3"
[ "$found" = "$wanted" ] || fail "the wheels are for Python $wanted, this is $found: PYTHON=/path/to/python$wanted sh install.sh"
version=$(cat VERSION)

# Named after what is in it too: another bundle of the same version is another program.
release=$root/opt/rootdx/releases/$version-$(sha256sum SHA256SUMS | cut -c1-12)
if [ ! -e "$release/installed" ]; then
    rm -rf "$release"
    mkdir -p "$root/opt/rootdx/releases"
    "$python" -m venv --without-pip "$release"  # python3-venv need not be there: pip is in the bundle
    PYTHONPATH=$(echo wheels/pip-*.whl) "$release/bin/python" -m pip install --quiet --no-index --find-links wheels \
        --no-cache-dir --disable-pip-version-check --no-warn-script-location "rootdx[cluster,demo,frames,parquet]==$version"
    touch "$release/installed"
fi

before=$(readlink "$root/opt/rootdx/bin" || true)
running=
if [ "$before" = "$release/bin" ] && [ -e "$release/running" ]; then running=1; fi

administer() {
    PGSSLMODE=verify-full PGSSLROOTCERT=$etc/secrets/ca.pem PGSSLCRL=$etc/secrets/crl.pem \
        "$release/bin/rootdx" "$@" --config "$etc/migrate.toml"
}
bring_tables_up_to_date() {
    companies=
    for folder in "$etc"/companies/*/secrets; do
        [ -d "$folder" ] || continue
        companies=1
        administer company add "$(basename "$(dirname "$folder")")" --passwords "$folder" || return 1
    done
    [ -n "$companies" ] || administer migrate --passwords "$etc/secrets"  # and passwords of roles that are new
}
if [ -n "$before" ] && [ -z "$running" ] && [ -e "$etc/secrets/postgres.password" ]; then
    bring_tables_up_to_date || fail "nothing was changed and the version before runs on; when what is said above is put right: sh install.sh" \
        "/ 바뀐 것은 없고 이전 버전이 계속 동작합니다. 위의 문제를 해결한 뒤 다시: sh install.sh"
fi

ln -sfn "$release/bin" "$root/opt/rootdx/bin"
rm -rf "$root/opt/rootdx/deploy.old"
if [ -e "$root/opt/rootdx/deploy" ]; then mv "$root/opt/rootdx/deploy" "$root/opt/rootdx/deploy.old"; fi
cp -R deploy "$root/opt/rootdx/deploy"

# A person's file is never overwritten.
place() {
    if [ ! -e "$2" ]; then
        install -m "$3" "$1" "$2"
    elif ! cmp -s "$1" "$2"; then
        install -m "$3" "$1" "$2.new"
    fi
}

mkdir -p "$etc/plant/pki" "$etc/nats" "$root/etc/systemd/system" "$root/usr/local/bin"
install -d -m 0700 "$etc/secrets"
for file in deploy/config/*.toml; do place "$file" "$etc/$(basename "$file")" 0644; done
place deploy/plant/plant.toml "$etc/plant/plant.toml" 0644
place deploy/nats/nats.conf "$etc/nats/nats.conf" 0644
place deploy/nats/cluster.conf "$etc/nats/cluster.conf" 0644
place deploy/nats/relay.conf "$etc/nats/relay.conf" 0644
for file in deploy/systemd/*.service deploy/systemd/company/*.service; do
    install -m 0644 "$file" "$root/etc/systemd/system/"
done
mkdir -p "$root/etc/systemd/journald.conf.d"
place deploy/systemd/journald.conf "$root/etc/systemd/journald.conf.d/rootdx.conf" 0644
ln -sfn /opt/rootdx/bin/rootdx "$root/usr/local/bin/rootdx"

# After an upgrade a unit may want a secret that the version before did not know; without it systemd would not start it.
# And settings that a person keeps may name one that the unit is no longer given; then the process would end with 78.
systemd=
if [ -d "$root/run/systemd/system" ]; then systemd=1; fi
missing=
used() { [ -z "$systemd" ] || systemctl is-enabled --quiet "$1" 2>/dev/null; }
look_for_secrets() {  # of this unit file, as this unit, of this company
    used "$2" || return 0
    for file in $(sed -n "s/^LoadCredential=[^:]*://p" "$1" | sed "s/%i/$3/g"); do
        [ -e "$root$file" ] || { echo "install.sh: $2 wants $file" >&2; missing=1; }
    done
    settings=$(sed -n 's/^ExecStart=.* --config //p' "$1" | sed "s/%i/$3/g")
    [ -n "$settings" ] && [ -e "$root$settings" ] || return 0
    for name in $(sed 's/#.*//' "$root$settings" | grep -o '"%d/[^"]*"' | sed 's/^"%d\/\(.*\)"$/\1/'); do
        cat "$1" "$root/etc/systemd/system/$2.d/"*.conf 2>/dev/null | grep -q "^LoadCredential=$name:" ||
            { echo "install.sh: $settings names $name, which $2 is not given: compare $(basename "$settings").new" >&2; missing=1; }
    done
}
if [ -n "$(ls -A "$etc/secrets")" ]; then
    for unit in deploy/systemd/*.service; do look_for_secrets "$unit" "$(basename "$unit")" ""; done
    for folder in "$etc"/companies/*/secrets; do
        [ -d "$folder" ] || continue
        company=$(basename "$(dirname "$folder")")
        for unit in deploy/systemd/company/*.service; do
            look_for_secrets "$unit" "$(basename "$unit" @.service)@$company.service" "$company"
        done
    done
fi

if [ -z "$root" ]; then
    getent group rootdx >/dev/null || groupadd --system rootdx
    getent passwd rootdx >/dev/null ||
        useradd --system --gid rootdx --no-create-home --home-dir /var/lib/rootdx --shell /usr/sbin/nologin rootdx
    chown rootdx:rootdx "$etc/plant/pki"
    chmod 0700 "$etc/plant/pki"
fi
if [ -n "$systemd" ] && [ -z "$running" ]; then
    [ -z "$missing" ] || fail "nothing was restarted: make what is named above, then again: sh install.sh" \
        "/ 서비스를 다시 시작하지 않았습니다. 위의 것을 갖춘 뒤 다시: sh install.sh"
    systemctl daemon-reload
    systemctl try-restart systemd-journald.service
    systemctl try-restart 'rootdx-*.service' || fail "a service did not start; what it says: journalctl -u 'rootdx-*' -n 50; then again: sh install.sh" \
        "/ 시작하지 못한 서비스가 있습니다. 이유: journalctl -u 'rootdx-*' -n 50. 그다음 다시: sh install.sh"
    touch "$release/running"
fi
echo "rootdx $version is installed. What comes next: /opt/rootdx/deploy/runbook.en.md"
echo "rootdx $version 설치가 끝났습니다. 다음 단계: /opt/rootdx/deploy/runbook.ko.md"
