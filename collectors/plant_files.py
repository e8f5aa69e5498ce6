"""The files that a gateway works by: whether somebody who may has sealed them, and an event for every change of them.

* What was taken up last is remembered in the spool, in the append that tells it: each change is told once, also over
  restarts, and an older seal that is put back is seen.
* The event carries the seal as it stands, so that whoever has the public keys can check the whole history by it.
"""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from collectors.collector import Durable
from pipeline import seal as seals
from pipeline.errors import Unavailable
from pipeline.losses import gateway_asset
from pipeline.model import Event
from pipeline.plant import Machine, Plant, load_folder, texts_in
from pipeline.seal import Seal

KIND: Final = "config.changed"
_NOTE: Final = "config"
"""Of the spool: what was taken up last."""


class PlantFiles:
    """A plant folder.

    Args:
        folder: of plant.toml and the machine files.
        signers: folder with the public keys of those who may seal it; None: no seal is needed.
        spool: that remembers what was taken up.
        gateway: its name.
    """

    def __init__(self, folder: Path, signers: Path | None, spool: Durable, gateway: str) -> None:
        self._folder, self._signers, self._spool, self._asset = folder, signers, spool, gateway_asset(gateway)
        self._files: dict[str, str] = {}
        self._seal: Seal | None = None

    def load(self, machine_file: type[Machine[Any]]) -> tuple[Plant, dict[str, Machine[Any]]]:
        """The plant and its machines, of files that may be taken up.

        Raises:
            ConfigError: as `load_folder`; or a seal is needed and is not right.
        """
        texts = texts_in(self._folder)
        seal = None
        if self._signers is not None:
            seal = seals.check(self._folder, texts, seals.public_keys(self._signers), self._before().get("sealed", ""))
        loaded = load_folder(self._folder, machine_file, texts)
        self._files, self._seal = seals.digests(texts), seal
        return loaded

    async def tell(self, now_ns: int) -> None:
        """Makes durable that the files loaded last were taken up, unless they were before."""
        before, seal = self._before(), self._seal
        sealed = seal.made if seal else before.get("sealed", "")
        if before.get("files") == self._files and before.get("sealed", "") == sealed:
            return
        data = _told(before.get("files", {}), self._files)
        data |= {"seal": asdict(seal)} if seal else {"files": self._files}
        text = f"{seal.signer}: {seal.note}" if seal else " ".join(data["added"] + data["changed"] + data["removed"])
        kept = {"files": self._files, "sealed": sealed}
        with contextlib.suppress(Unavailable):  # a full spool: told when the files are read again
            await self._spool.append([Event(self._asset, KIND, now_ns, text, data=data)], {_NOTE: json.dumps(kept)})

    def _before(self) -> dict[str, Any]:
        return dict(json.loads(self._spool.notes.get(_NOTE, "{}")))


def _told(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, Any]:
    """Names of the files that are new, other than before, and gone."""
    return {
        "added": [name for name in now if name not in before],
        "changed": [name for name in now if name in before and before[name] != now[name]],
        "removed": [name for name in before if name not in now],
    }
