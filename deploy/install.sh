#!/bin/sh
# Installs rootdx on Debian 12 or later, without a network, or upgrades it. As root: sh install.sh
#
# Settings, secrets and machine files that are there already stay as they are; new samples lie beside them as *.new.
# The version before stays in /opt/rootdx/releases: `ln -sfn /opt/rootdx/releases/OLD/bin /opt/rootdx/bin` goes back.
# DESTDIR=/somewhere installs below that folder and touches neither users nor systemd.
set -eu
umask 022

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=${DESTDIR:-}
python=${PYTHON:-python3}

fail() { echo "install.sh: $*" >&2; exit 1; }

[ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "run it as root / root로 실행하십시오"
cd "$here"
sha256sum --check --quiet --strict SHA256SUMS || fail "a file is damaged: copy the bundle again / 파일이 손상되었습니다. 묶음을 다시 복사하십시오"
wanted=$(cat PYTHON)
found=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || fail "no $python: Debian's package python3"
[ "$found" = "$wanted" ] || fail "the wheels are for Python $wanted, this is $found: PYTHON=/path/to/python$wanted sh install.sh"
version=$(cat VERSION)

release=$root/opt/rootdx/releases/$version
if [ ! -e "$release/installed" ]; then
    rm -rf "$release"
    mkdir -p "$root/opt/rootdx/releases"
    "$python" -m venv --without-pip "$release"  # python3-venv need not be there: pip is in the bundle
    PYTHONPATH=$(echo wheels/pip-*.whl) "$release/bin/python" -m pip install --quiet --no-index --find-links wheels \
        --no-cache-dir --disable-pip-version-check --no-warn-script-location "rootdx[demo,frames,parquet]==$version"
    touch "$release/installed"
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

etc=$root/etc/rootdx
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
missing=
used() { [ -n "$root" ] || systemctl is-enabled --quiet "$1" 2>/dev/null; }
if [ -n "$(ls -A "$etc/secrets")" ]; then
    for unit in deploy/systemd/*.service; do
        used "$(basename "$unit")" || continue
        for file in $(sed -n 's/^LoadCredential=[^:]*://p' "$unit"); do
            [ -e "$root$file" ] || { echo "install.sh: $(basename "$unit") wants $file" >&2; missing=1; }
        done
    done
fi

if [ -z "$root" ]; then
    getent group rootdx >/dev/null || groupadd --system rootdx
    getent passwd rootdx >/dev/null ||
        useradd --system --gid rootdx --no-create-home --home-dir /var/lib/rootdx --shell /usr/sbin/nologin rootdx
    chown rootdx:rootdx "$etc/plant/pki"
    chmod 0700 "$etc/plant/pki"
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload
        systemctl try-restart systemd-journald.service
        if [ -z "$missing" ]; then
            systemctl try-restart 'rootdx-*.service'
        else
            echo "install.sh: nothing was restarted; make what runs here needs, then: systemctl try-restart 'rootdx-*'" >&2
            echo "install.sh: 서비스를 다시 시작하지 않았습니다. 이 컴퓨터에 필요한 파일을 만든 뒤 위 명령을 실행하십시오" >&2
        fi
    fi
fi
echo "rootdx $version is installed. What comes next: /opt/rootdx/deploy/runbook.en.md"
echo "rootdx $version 설치가 끝났습니다. 다음 단계: /opt/rootdx/deploy/runbook.ko.md"
