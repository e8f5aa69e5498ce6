"""Settings: defaults work, secrets come from elsewhere, a misspelt key is named."""

from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from pipeline.errors import ConfigError
from pipeline.settings import (
    CREDENTIALS_ENV,
    DSN_ENV,
    Node,
    Settings,
    StoreSettings,
    read_secret,
    read_settings,
    store_dsn,
)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DSN_ENV, raising=False)


def write(folder: Path, text: str) -> Path:
    file = folder / "rootdx.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_without_a_file_the_defaults_hold() -> None:
    assert read_settings(None) == Settings()


def test_empty_file_means_defaults_beside_it(tmp_path: Path) -> None:
    settings = read_settings(write(tmp_path, ""))
    assert settings.gateway.plant == tmp_path / "plant"
    assert settings.gateway.spool.folder == tmp_path / "spool"
    assert settings.bus.host == "127.0.0.1"


def test_every_relative_path_is_taken_from_the_files_folder(tmp_path: Path) -> None:
    text = (
        '[bus]\npassword_file = "bus.secret"\n[store]\npassword_file = "secrets/db"\n'
        '[gateway]\nplant = "machines"\n[gateway.spool]\nfolder = "data/spool"\n'
    )
    settings = read_settings(write(tmp_path, text))
    assert settings.bus.password_file == tmp_path / "bus.secret"
    assert settings.store.password_file == tmp_path / "secrets" / "db"
    assert settings.gateway.plant == tmp_path / "machines"
    assert settings.gateway.spool.folder == tmp_path / "data" / "spool"


def test_absolute_paths_stay(tmp_path: Path) -> None:
    text = '[bus]\npassword_file = "/etc/rootdx/bus"\n[gateway]\nplant = "/etc/rootdx/plant"\n'
    settings = read_settings(write(tmp_path, text))
    assert settings.bus.password_file == Path("/etc/rootdx/bus")
    assert settings.gateway.plant == Path("/etc/rootdx/plant")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[bus]\nhots = 'x'\n", 2, "bus.hots = 'x': unknown key; check its spelling"),
        ("[buss]\nhost = 'x'\n", 1, "buss: unknown key; check its spelling"),
        ("[bus]\nport = 70000\n", 2, "bus.port = 70000"),
        ("[bus]\nport = 'x'\n", 2, "bus.port = 'x'"),
        ("[bus]\nhost = []\n", 2, "bus.host: expected a name, or the names of a cluster's nodes"),
        ("[bus]\nhost = ['a', 'b:0']\n", 2, "bus.host: 'b:0' is no address; expected a name or number"),
        ("[writer]\nname = 'Writer 1'\n", 2, "writer.name = 'Writer 1': expected 1 to 63 lower-case letters"),
        ("[gateway]\nname = 'Gateway 1'\n", 2, "gateway.name = 'Gateway 1': expected lower-case"),
        ("[gateway.spool]\ncap_mb = 0\n", 2, "gateway.spool.cap_mb = 0"),
        ("[gateway.forward]\n\nwindow = -1\n", 3, "gateway.forward.window = -1"),
        ("log_level = 'LOUD'\n", 1, "log_level = 'LOUD': Input should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
    ],
)
def test_fault_is_named_with_file_line_key_and_value(tmp_path: Path, text: str, line: int, words: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_settings(file)
    assert str(caught.value).startswith(f"{file}:{line}: {words}")


@pytest.mark.parametrize(
    ("host", "nodes"),
    [
        ("'b1'", [("b1", 1)]),
        ("['b1', 'b2:8884', '10.0.0.1']", [("b1", 1), ("b2", 8884), ("10.0.0.1", 1)]),
        ("['::1', '[fe80::2]', '[fe80::3]:5']", [("::1", 1), ("fe80::2", 1), ("fe80::3", 5)]),
    ],
)
def test_a_broker_is_one_address_or_several_with_ports_of_their_own(
    tmp_path: Path, host: str, nodes: list[tuple[str, int]]
) -> None:
    settings = read_settings(write(tmp_path, f"[bus]\nhost = {host}\nport = 1\n"))
    assert settings.bus.nodes == tuple(Node(*one) for one in nodes)
    again = settings.bus.model_copy(update={"host": tuple(str(one) for one in settings.bus.nodes)})
    assert again.nodes == settings.bus.nodes


def test_secret_is_the_first_line(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("pass word\nrest\n")
    assert read_secret(file) == "pass word"


@pytest.mark.parametrize(("content", "words"), [(b"", "is empty"), (b"\nx", "is empty"), (b"\xff\xfe", "not UTF-8")])
def test_secret_that_is_none_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=words) as caught:
        read_secret(file)
    assert str(file) in str(caught.value)


def test_missing_secret_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the secret: No such file"):
        read_secret(tmp_path / "nowhere")


@pytest.mark.parametrize("secret", ["plain", "p@ss:w/rd?", "a'b\\c d", "한글", "100%"])
@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://rootdx_writer@db:5432/rootdx",
        "postgresql:///rootdx?user=rootdx_writer&host=/run",
        "user=w dbname=d",
    ],
)
def test_any_password_arrives_as_it_is(tmp_path: Path, dsn: str, secret: str) -> None:
    file = tmp_path / "secret"
    file.write_text(secret + "\n", encoding="utf-8")
    made = conninfo_to_dict(store_dsn(StoreSettings(dsn=dsn, password_file=file)))
    assert made == {**conninfo_to_dict(dsn), "password": secret}


@pytest.mark.parametrize("handed", [True, False])
def test_authority_of_the_database_is_asked_for_by_units_and_by_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, handed: bool
) -> None:
    place = tmp_path / ("handed" if handed else "secrets")
    if handed:
        monkeypatch.setenv(CREDENTIALS_ENV, str(place))
    else:
        monkeypatch.delenv(CREDENTIALS_ENV, raising=False)
    text = '[store]\ndsn = "postgresql://a@b/c"\nca_file = "%d/ca.pem"\ncrl_file = "%d/crl.pem"\n'
    made = conninfo_to_dict(store_dsn(read_settings(write(tmp_path, text)).store))
    tls = {"sslmode": "verify-full", "sslrootcert": str(place / "ca.pem"), "sslcrl": str(place / "crl.pem")}
    assert made == {"user": "a", "host": "b", "dbname": "c", **tls}


def test_what_the_dsn_says_of_tls_itself_holds(tmp_path: Path) -> None:
    made = conninfo_to_dict(store_dsn(StoreSettings(dsn="host=b sslmode=disable", ca_file=tmp_path / "ca.pem")))
    assert made["sslmode"] == "disable"


def test_dsn_that_is_none_is_named(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("x\n")
    with pytest.raises(ConfigError, match=r"store.dsn = 'nonsense': not a connection string"):
        store_dsn(StoreSettings(dsn="nonsense", password_file=file))


def test_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DSN_ENV, "postgresql://x@y/z")
    assert store_dsn(StoreSettings(password_file=tmp_path / "nowhere")) == "postgresql://x@y/z"


def test_dsn_without_password_stays_as_it_is() -> None:
    assert store_dsn(StoreSettings(dsn="postgresql://a@b/c")) == "postgresql://a@b/c"
