"""`rootdx browse` against a real server, as a person would run it."""

import os
import subprocess
import sys
from pathlib import Path

from collectors.protocols import MachineFile
from pipeline.plant import load
from tests.support.services import OpcUaServer


def browse(*words: object) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("rootdx")), "browse", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ))


def test_a_machine_file_is_written_that_loads_and_is_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "plant" / "press.toml"
    file.parent.mkdir()
    with OpcUaServer(tmp_path / "server") as server:
        url = f"opc.tcp://127.0.0.1:{server.port}/press"
        shown = browse(url)
        written = browse(url, "--write", file, "--path", "forging/line1/press1", "--process", "forging")
        again = browse(url, "--write", file)
        refused = browse(url, "--policy", "Basic256Sha256", "--write", file.with_name("p2.toml"))
        server.trust()
        secured = browse(url, "--policy", "Basic256Sha256", "--write", file.with_name("p2.toml"))
    assert "temp" in shown.stdout, shown.stderr
    assert "probe" in written.stdout
    machine = load(file, MachineFile)
    (tag,) = [tag for tag in machine.tag if tag.name.endswith("temperature")]
    assert (tag.unit, tag.range, tag.address.endswith(";s=temp")) == ("Cel", (0.0, 120.0), True)
    assert again.returncode == 78
    assert "is there already" in again.stderr
    assert "on the server, move the certificate" in refused.stderr
    assert secured.returncode == 0, secured.stderr
    source = load(file.with_name("p2.toml"), MachineFile).source
    assert source.security.pki == file.parent / "pki"  # type: ignore[union-attr]
    assert 'pki = "pki"' in file.with_name("p2.toml").read_text(encoding="utf-8")
