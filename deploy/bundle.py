# ruff: noqa: INP001  # a script beside what it packs
"""Packs everything that a plant without internet needs into one folder: `make bundle`.

    build/bundle/
      install.sh            Debian, as root, without a network: sh install.sh
      wheels/               rootdx and all that it imports, for this Python and this kind of computer; pip itself
      deploy/               compose.yaml, Dockerfile, units, settings, brokers, database, Prometheus, Grafana, runbooks
      PYTHON  VERSION       what the wheels are for, what they are
      sbom.cdx.json         what is in it: CycloneDX 1.5, with licences and sums
      SHA256SUMS            of every file: sha256sum --check SHA256SUMS

Containers are not in it: where they are wanted, `docker save` on a computer with internet and `docker load` in the
plant.
"""

import argparse
import email.message
import email.parser
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import uuid
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
EXTRAS: Final = "cluster,demo,frames,parquet"
"""The broker's program and the demo, tables for data scientists, computers that compute together."""
DEPLOY: Final = (
    "Dockerfile", "backup", "centre.ko.md", "centre.md", "compose.yaml", "compute", "config", "grafana",
    "iec62443.ko.md", "iec62443.md", "mosquitto", "nats", "plant", "prometheus", "runbook.en.md", "runbook.ko.md",
    "sizing.md", "systemd", "timescale",
)  # fmt: skip


def main() -> None:
    """Makes the folder anew."""
    parser = argparse.ArgumentParser(description="Packs rootdx for a plant without internet.")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bundle", help="Folder; emptied first.")
    out: Path = parser.parse_args().out
    shutil.rmtree(out, ignore_errors=True)
    (out / "wheels").mkdir(parents=True)
    collect_wheels(out / "wheels")
    copy_deploy(out)
    papers = [read_wheel(file) for file in sorted((out / "wheels").glob("*.whl"))]
    version = next(one["Version"] for one, _ in papers if normal(one["Name"]) == "rootdx")
    (out / "VERSION").write_text(f"{version}\n")
    (out / "PYTHON").write_text(f"{sys.version_info.major}.{sys.version_info.minor}\n")
    (out / "sbom.cdx.json").write_text(json.dumps(bill(papers, version), indent=1, ensure_ascii=False) + "\n")
    write_sums(out)
    size_mb = sum(file.stat().st_size for file in out.rglob("*") if file.is_file()) / 1e6
    sys.stdout.write(f"{out}: rootdx {version}, {len(papers)} wheels, {size_mb:.0f} MB\n")


def collect_wheels(folder: Path) -> None:
    """All that `pip install rootdx` would fetch, as wheels, and pip."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--disable-pip-version-check",
        "--wheel-dir",
        str(folder),
    ]
    subprocess.run([*command, f"{ROOT}[{EXTRAS}]", "pip"], check=True)  # noqa: S603  # our own command line


def copy_deploy(out: Path) -> None:
    """What is installed beside the program."""
    here = ROOT / "deploy"
    for name in DEPLOY:
        source, target = here / name, out / "deploy" / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    shutil.copy(here / "install.sh", out)
    for name in ("LICENSE", "CHANGELOG.md"):
        shutil.copy(ROOT / name, out)


Paper = tuple[email.message.Message, Path]


def read_wheel(file: Path) -> Paper:
    """What a wheel says of itself."""
    with zipfile.ZipFile(file) as wheel:
        name = next(name for name in wheel.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        return email.parser.Parser().parsestr(wheel.read(name).decode()), file


def normal(name: str) -> str:
    """As package indexes spell it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def bill(papers: list[Paper], version: str) -> dict[str, Any]:
    """The bill of materials: CycloneDX 1.5."""
    parts = [component(one, file) for one, file in papers]
    ours = next(one for one in parts if one["name"] == "rootdx")
    known = {one["name"]: one["bom-ref"] for one in parts}
    needs = [
        {
            "ref": known[normal(one["Name"])],
            "dependsOn": sorted({known[name] for name in needed(one) if name in known}),
        }
        for one, _ in papers
    ]
    content = "".join(one["hashes"][0]["content"] for one in parts)
    made = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", datetime.now(UTC).timestamp())), UTC)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}",
        "version": 1,
        "metadata": {
            "timestamp": made.isoformat(),
            "component": {"type": "application", "name": "rootdx", "version": version, "bom-ref": "rootdx-bundle"},
        },
        "components": [*parts, *images()],
        "dependencies": [{"ref": "rootdx-bundle", "dependsOn": [ours["bom-ref"]]}, *needs],
    }


def component(one: email.message.Message, file: Path) -> dict[str, Any]:
    """A wheel in the bill."""
    name, version = normal(one["Name"]), one["Version"]
    purl = f"pkg:pypi/{name}@{version}"
    found: dict[str, Any] = {
        "type": "application" if name == "rootdx" else "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(file.read_bytes()).hexdigest()}],
        "properties": [{"name": "file", "value": f"wheels/{file.name}"}],
    }
    if one["Summary"]:
        found["description"] = one["Summary"]
    if terms := licences(one):
        found["licenses"] = terms
    return found


def licences(one: email.message.Message) -> list[dict[str, Any]]:
    """As the wheel states them: an SPDX expression, else the first line of its text, else its classifiers."""
    if one["License-Expression"]:
        return [{"expression": one["License-Expression"]}]
    text = (one["License"] or "").strip().splitlines()
    named = [each.rpartition(" :: ")[2] for each in one.get_all("Classifier", []) if each.startswith("License :: ")]
    names = named or [text[0][:80]] if named or text else []
    return [{"license": {"name": name}} for name in names]


def needed(one: email.message.Message) -> set[str]:
    """Names of what it asks for, under whatever condition."""
    asked = (re.match(r"[A-Za-z0-9._-]+", line) for line in one.get_all("Requires-Dist", []))
    return {normal(found[0]) for found in asked if found}


def images() -> list[dict[str, Any]]:
    """The images that compose.yaml names; they are not in the bundle."""
    text = (ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8")
    named = set(re.findall(r"^\s+image: (\S+):(\S+)$", text, re.MULTILINE))
    names = sorted((name, tag) for name, tag in named if name != "rootdx")
    return [
        {
            "type": "container",
            "bom-ref": f"image:{name}:{tag}",
            "name": name,
            "version": tag,
            "scope": "optional",
            "purl": f"pkg:docker/{name}@{tag}",
        }
        for name, tag in names
    ]


def write_sums(out: Path) -> None:
    """Of every other file, as `sha256sum` writes them."""
    files = sorted(file for file in out.rglob("*") if file.is_file())
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(out).as_posix()}\n" for file in files]
    (out / "SHA256SUMS").write_text("".join(lines))


if __name__ == "__main__":
    main()
