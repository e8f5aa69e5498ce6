"""What the runbook tells people to type exists, and both languages tell them the same."""

import os
import re
import shlex
import stat
import subprocess
from pathlib import Path

import pytest

from rootdx import passwords
from tests.deploy.command_line import parses
from tests.deploy.test_files import PROMTOOL

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
PAGES = {language: (DEPLOY / f"runbook.{language}.md").read_text(encoding="utf-8") for language in ("en", "ko")}
TOOL = "docker compose run --rm tool "
UNITS = {file.stem for place in ("systemd", "backup") for file in (DEPLOY / place).glob("*.service")}


def blocks(language: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", PAGES[language], re.MULTILINE | re.DOTALL)


def lines() -> list[str]:
    return [line for block in blocks("en") for line in block.splitlines()]


def ours() -> list[list[str]]:
    """Every command of ours, in blocks and in sentences, in both languages."""
    said = [line for page in PAGES.values() for line in re.findall(r"`(rootdx [^`]+)`", page)]
    direct = [line for line in lines() if line.startswith("rootdx ")]
    inside = [line.replace(TOOL, "rootdx ") for line in lines() if line.startswith(TOOL)]
    return [shlex.split(line) for line in dict.fromkeys(direct + inside + said) if line != "rootdx certs server"]


@pytest.mark.parametrize("line", ours(), ids=" ".join)
def test_a_command_of_ours_exists_with_these_options(line: list[str]) -> None:
    assert parses(line)


def test_both_languages_tell_the_same_steps() -> None:
    assert blocks("ko") == blocks("en")
    headings = {language: len(re.findall("^## ", page, re.MULTILINE)) for language, page in PAGES.items()}
    assert headings["ko"] == headings["en"] == 12
    assert max(len(line) for page in PAGES.values() for line in page.splitlines()) < 180


def test_every_unit_and_file_that_is_named_is_shipped() -> None:
    text = PAGES["en"]
    assert set(re.findall(r"\brootdx-[a-z]+(?![\w*-])", text)) <= UNITS
    for name in re.findall(r"/opt/rootdx/deploy/(\S+\.\w+)", text):
        assert (DEPLOY / name).exists(), name
    for name in re.findall(r"/etc/rootdx/(\w+\.toml)", text):
        assert (DEPLOY / "config" / name).exists(), name


def test_what_is_taken_from_the_installed_folder_is_in_the_bundle() -> None:
    packed = set(
        re.findall(r'"([\w.-]+)"', (DEPLOY / "bundle.py").read_text(encoding="utf-8").partition("DEPLOY: ")[2])
    )
    taken = {name.partition("/")[0] for name in re.findall(r"/opt/rootdx/deploy/([\w./-]+)", PAGES["en"])}
    assert taken <= packed


def test_every_secret_that_units_want_is_made_by_the_runbook() -> None:
    wanted = {
        name
        for unit in (DEPLOY / "systemd").glob("*.service")
        for name in re.findall(r"^LoadCredential=(\S+):", unit.read_text(encoding="utf-8"), re.MULTILINE)
    }
    text = "\n".join(lines())
    made = {f"{role}.password" for role in passwords.ROLES}  # by migrate --passwords
    for line in re.findall(r"cp (ca\.pem .*) /etc/rootdx/secrets/", text):
        made |= {f"{name.removesuffix('.*')}.{end}" for name in line.split() for end in ("pem", "key") if "*" in name}
        made |= {name for name in line.split() if "*" not in name}
    made |= set(re.findall(r"/etc/rootdx/secrets/(\S+)$", text, re.MULTILINE))
    assert wanted <= made


@pytest.mark.parametrize("line", [line for line in lines() if re.search(r"> \S+\.password\)?$", line)])
def test_a_password_is_for_its_owner_alone(line: str, tmp_path: Path) -> None:
    """Run as it stands, under the umask that root has."""
    file = tmp_path / "a.password"
    command = re.sub(r"> \S+\.password", f"> {file}", line)
    shell = ["sh", "-c", f"umask 022; {command}"]
    subprocess.run(shell, check=True, env={"PATH": os.environ["PATH"]}, input=b"typed by a person, longer than that\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(file.read_text()) > 30


def test_passwords_are_made() -> None:
    made = {match[1] for line in lines() if (match := re.search(r"> \S*/(\w+)\.password\)?$", line))}
    assert made >= {"postgres", "grafana"}


def test_the_authority_is_in_place_before_the_first_command_that_asks_the_database() -> None:
    text = "\n".join(lines())
    put = re.compile(r"^install .*/certs/ca\.pem .* /etc/rootdx/secrets/$", re.MULTILINE)
    (place,) = [match.start() for match in put.finditer(text)]
    assert place < text.index("rootdx migrate ")


def test_an_upgrade_restarts_nothing_by_hand_before_it_migrates() -> None:
    """tests/deploy/test_install.py holds install.sh to what is said here."""
    for page, heading in (("en", "## Upgrading\n"), ("ko", "## 업그레이드\n")):
        chapter = PAGES[page].partition(heading)[2].partition("\n## ")[0]
        (first, *_) = re.findall(r"^```sh\n(.*?)^```", chapter, re.MULTILINE | re.DOTALL)
        assert first.splitlines()[0] == "sh install.sh"
        assert "systemctl" not in first
        assert "`systemctl try-restart 'rootdx-*.service'`" in chapter


def test_prometheus_of_debian_gets_a_configuration_that_names_its_own_files(tmp_path: Path) -> None:
    """The lines of the page as they stand, in a folder of ours; promtool looks at them where it is installed."""
    chapter = PAGES["en"].partition("### Who is told")[2]
    (block,) = re.findall(r"^```sh\n(.*?)^```", chapter, re.MULTILINE | re.DOTALL)
    (tmp_path / "rootdx").mkdir()
    made = [line for line in block.splitlines() if line.startswith(("cp -r ", "sed "))]
    assert len(made) == 2
    for line in made:
        here = line.replace("/opt/rootdx/deploy", str(DEPLOY)).replace("/etc/prometheus", str(tmp_path))
        subprocess.run(["sh", "-c", here], check=True)
    text = (tmp_path / "prometheus.yml").read_text(encoding="utf-8")
    named = set(re.findall(rf"{re.escape(str(tmp_path))}/rootdx/(\S+)", text))
    assert "/run/secrets" not in text
    (copied,) = re.findall(r"&& install .* -m 0600 (.*) /etc/prometheus/rootdx/$", block, re.MULTILINE)
    assert named == set(copied.split())
    if PROMTOOL is not None:
        for name in named:
            (tmp_path / "rootdx" / name).write_text("of the plant", encoding="utf-8")
        command = [PROMTOOL, "check", "config", "--syntax-only", str(tmp_path / "prometheus.yml")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_names_that_prometheus_asks_for_are_put_into_hosts() -> None:
    config = (DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    asked = set(re.findall(r'targets: \["(\w+):', config)) | {"gateway"}
    (put,) = re.findall(r'^echo "127\.0\.0\.1 (.*)" >> /etc/hosts$', PAGES["en"], re.MULTILINE)
    assert set(put.split()) == asked


def test_no_password_is_written_anywhere() -> None:
    for file in DEPLOY.rglob("*"):
        if file.is_file() and file.suffix in {".toml", ".yaml", ".yml", ".conf", ".service", ".md", ".sh"}:
            text = file.read_text(encoding="utf-8")
            assert not re.search(r"(?i)^\s*[\w.]*password\s*[:=]\s*[\"']?[\w-]+[\"']?\s*$", text, re.MULTILINE), file
            assert not re.search(r"postgresql://\w+:[^@/\s]+@", text), file
