"""What install.sh does in which order, and when it does nothing. Needs no root and no service: see installing.py."""

import re
from pathlib import Path

import pytest

from tests.support.installing import RESTART, Computer, make_bundle
from tests.support.report import ROOT

MIGRATE = "rootdx migrate --passwords /etc/rootdx/secrets --config /etc/rootdx/migrate.toml"
RESTARTED = ["systemctl daemon-reload", "systemctl try-restart systemd-journald.service", RESTART]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("made") / "bundle")


@pytest.fixture
def computer(tmp_path: Path) -> Computer:
    """That of the database, with the version before."""
    made = Computer.switched_on(tmp_path)
    made.had("0.1.0")
    made.has("postgres.password")
    return made


def test_the_server_migrates_before_anything_is_restarted(computer: Computer, bundle: Path) -> None:
    done = computer.install(bundle)
    assert done.returncode == 0, done.stderr
    assert computer.said() == [MIGRATE, *RESTARTED]
    assert computer.program.parent.name.startswith("9.9.0-")


def test_a_migration_checks_the_certificate_of_the_database_whatever_old_settings_say(
    tmp_path: Path, bundle: Path
) -> None:
    words = f'echo "$PGSSLMODE $PGSSLROOTCERT $PGSSLCRL" >> "{tmp_path}/said"'
    computer = Computer.switched_on(tmp_path, words)
    computer.had("0.1.0")
    computer.has("postgres.password")
    computer.install(bundle)
    assert computer.said()[0] == "verify-full /etc/rootdx/secrets/ca.pem /etc/rootdx/secrets/crl.pem"


def test_while_it_migrates_the_version_before_is_what_units_start(tmp_path: Path, bundle: Path) -> None:
    computer = Computer.switched_on(tmp_path, f'readlink "{tmp_path}/computer/opt/rootdx/bin" >> "{tmp_path}/said"')
    computer.had("0.1.0")
    computer.has("postgres.password")
    computer.install(bundle)
    assert computer.said()[0] == "/opt/rootdx/releases/0.1.0/bin"


def test_a_migration_that_fails_leaves_the_version_before_as_it_is(tmp_path: Path, bundle: Path) -> None:
    computer = Computer.switched_on(tmp_path, "echo process 7 of postgres is in the way >&2; exit 1")
    computer.had("0.1.0")
    computer.has("postgres.password")
    done = computer.install(bundle)
    assert done.returncode == 1
    assert "process 7 of postgres is in the way" in done.stderr
    assert "바뀐 것은 없고 이전 버전이 계속 동작합니다" in done.stderr
    assert computer.said() == []
    assert computer.program.parent.name == "0.1.0"
    assert not (computer.root / "etc" / "systemd").exists()


def test_a_gateway_only_restarts(tmp_path: Path, bundle: Path) -> None:
    computer = Computer.switched_on(tmp_path)
    computer.had("0.1.0")
    computer.has("gateway.pem")
    done = computer.install(bundle)
    assert done.returncode == 0, done.stderr
    assert computer.said() == RESTARTED


def test_a_first_installation_migrates_nothing(tmp_path: Path, bundle: Path) -> None:
    computer = Computer.switched_on(tmp_path)
    computer.has("postgres.password")  # copied from the server that was before
    done = computer.install(bundle)
    assert done.returncode == 0, done.stderr
    assert MIGRATE not in computer.said()


def test_a_centre_brings_each_company_up_to_date(computer: Computer, bundle: Path) -> None:
    for name in ("daehan", "hansung"):
        (computer.etc / "companies" / name / "secrets").mkdir(parents=True)
    done = computer.install(bundle)
    assert done.returncode == 0, done.stderr
    added = "rootdx company add {0} --passwords /etc/rootdx/companies/{0}/secrets --config /etc/rootdx/migrate.toml"
    assert computer.said() == [added.format("daehan"), added.format("hansung"), *RESTARTED]


def test_the_same_bundle_again_changes_nothing(computer: Computer, bundle: Path) -> None:
    computer.install(bundle)
    before = computer.program
    made = (before.parent / "installed").stat().st_mtime_ns
    done = computer.install(bundle)
    assert done.returncode == 0, done.stderr
    assert computer.said() == []
    assert computer.program == before
    assert (before.parent / "installed").stat().st_mtime_ns == made


def test_another_bundle_of_the_same_version_is_installed(computer: Computer, bundle: Path, tmp_path: Path) -> None:
    computer.install(bundle)
    before = computer.program
    done = computer.install(make_bundle(tmp_path / "other", remark="mended"))
    assert done.returncode == 0, done.stderr
    assert computer.said() == [MIGRATE, *RESTARTED]
    assert computer.program != before
    assert computer.program.parent.name.startswith("9.9.0-")
    assert before.exists()


def test_going_back_and_forth_restarts(computer: Computer, bundle: Path) -> None:
    computer.install(bundle)
    link = computer.root / "opt" / "rootdx" / "bin"
    link.unlink()
    link.symlink_to(computer.root / "opt" / "rootdx" / "releases" / "0.1.0" / "bin")
    computer.install(bundle)
    assert computer.said() == [MIGRATE, *RESTARTED]


@pytest.mark.parametrize(
    ("unit", "wanted"),
    [
        ("rootdx-notify.service", "/etc/rootdx/secrets/notify.key"),
        ("rootdx-board@hansung.service", "/etc/rootdx/companies/hansung/secrets/hansung_board.password"),
    ],
)
def test_a_secret_that_a_unit_lacks_is_named_and_nothing_restarts_until_it_is_there(
    computer: Computer, bundle: Path, unit: str, wanted: str
) -> None:
    (computer.etc / "companies" / "hansung" / "secrets").mkdir(parents=True)
    (computer.place / "enabled").write_text(f"{unit}\n")
    done = computer.install(bundle)
    assert done.returncode == 1
    assert f"install.sh: {unit} wants {wanted}\n" in done.stderr
    assert RESTART not in computer.said()
    for name in given(unit):
        file = computer.root / name.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    done = computer.install(bundle)
    assert done.returncode == 0, done.stderr
    assert computer.said()[-1] == RESTART


def test_settings_that_name_a_secret_which_the_unit_is_no_longer_given_are_told_before_a_restart(
    computer: Computer, bundle: Path
) -> None:
    (computer.place / "enabled").write_text("rootdx-notify.service\n")
    computer.has(*(Path(file).name for file in given("rootdx-notify.service")))
    shipped = (bundle / "deploy" / "config" / "notify.toml").read_text(encoding="utf-8")
    kept = computer.etc / "notify.toml"
    kept.write_text(shipped + '# "%d/not-this"\n[notify.smtp]\npassword_file = "%d/mail.password"\n', encoding="utf-8")
    done = computer.install(bundle)
    assert done.returncode == 1
    (told, _) = done.stderr.splitlines()
    assert told.endswith(
        "/etc/rootdx/notify.toml names mail.password, which rootdx-notify.service is not given: compare notify.toml.new"
    )
    assert RESTART not in computer.said()
    more = computer.root / "etc" / "systemd" / "system" / "rootdx-notify.service.d" / "mail.conf"
    more.parent.mkdir()
    more.write_text("[Service]\nLoadCredential=mail.password:/etc/rootdx/secrets/mail.password\n")
    assert computer.install(bundle).returncode == 0
    assert computer.said()[-1] == RESTART


def given(unit: str) -> list[str]:
    """Files that a unit is handed."""
    template, _, company = unit.removesuffix(".service").partition("@")
    file = f"company/{template}@.service" if company else unit
    text = (ROOT / "deploy" / "systemd" / file).read_text(encoding="utf-8")
    named = re.findall(r"^LoadCredential=[^:]+:(\S+)$", text, re.MULTILINE)
    return [name.replace("%i", company) for name in named]


def test_a_service_that_does_not_start_is_told_and_tried_again(computer: Computer, bundle: Path) -> None:
    (computer.place / "at-restart").write_text("exit 1\n")
    done = computer.install(bundle)
    assert done.returncode == 1
    assert "a service did not start" in done.stderr
    (computer.place / "at-restart").write_text("")
    done = computer.install(bundle)
    assert done.returncode == 0, done.stderr
    assert computer.said()[-1] == RESTART
