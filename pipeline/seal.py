"""Who says that the files of a plant folder are right: a seal, signed with a key that the plant trusts. See seal.md.

* A seal names every *.toml file of the folder with its digest, who sealed it, when, why, and the seal before it. A file
  more, a file less or another byte in one, and it no longer fits.
* Keys are Ed25519 (RFC 8032). The private one is its person's; a plant trusts the public keys that lie in one folder.
* Nothing here asks a clock or a network: that an older seal was put back is for whoever remembers a newer one to see.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pipeline.errors import ConfigError

FILE: Final = "seal.json"
PUBLIC: Final = ".pub"
"""Ending of a public key's file; what stands before it is the person's name."""
_REMEDY: Final = "look at what has changed and seal it: rootdx config seal"


@dataclass(frozen=True, slots=True)
class Seal:
    """What a person says of a folder.

    Attributes:
        number: one more than that of the seal before.
        made: when, ISO 8601 with its offset.
        signer: whose key signed it.
        note: why, in the person's words.
        before: digest of the seal before, "": there was none.
        files: digest by file name.
        signature: of all of this, base64; "": not signed yet.
    """

    number: int
    made: str
    signer: str
    note: str
    before: str
    files: Mapping[str, str]
    signature: str = ""

    @property
    def statement(self) -> bytes:
        """What is signed: the fields in one way of writing them."""
        said = {key: value for key, value in asdict(self).items() if key != "signature"}
        return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @property
    def made_at(self) -> datetime:
        """When it was made."""
        return datetime.fromisoformat(self.made)

    @property
    def digest(self) -> str:
        """Of what is signed; what the next seal names."""
        return hashlib.sha256(self.statement).hexdigest()

    def signed(self, key: Ed25519PrivateKey) -> "Seal":
        """The same with a signature."""
        return replace(self, signature=base64.b64encode(key.sign(self.statement)).decode())

    def is_of(self, key: Ed25519PublicKey) -> bool:
        """Whether this key signed it."""
        try:
            key.verify(base64.b64decode(self.signature, validate=True), self.statement)
        except (InvalidSignature, ValueError):
            return False
        return True

    def text(self) -> str:
        """As it stands in its file."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"


def digests(texts: Mapping[str, str]) -> dict[str, str]:
    """SHA-256 of each file, hexadecimal, by file name."""
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in sorted(texts.items())}


def seal_from(said: Any, where: str) -> Seal:
    """A seal from its fields.

    Raises:
        ConfigError: they are none.
    """
    try:
        files = {str(name): str(digest) for name, digest in said["files"].items()}
        made, signer, note, before = (str(said[key]) for key in ("made", "signer", "note", "before"))
        return Seal(int(said["number"]), _aware(made), signer, note, before, files, str(said["signature"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{where}: no seal: {error!r}; {_REMEDY}") from error


def _aware(made: str) -> str:
    if datetime.fromisoformat(made).tzinfo is None:
        raise ValueError(f"made = {made!r} has no time zone")
    return made


def seal_in(folder: Path) -> Seal | None:
    """The seal of a folder, believed or not; None where there is none.

    Raises:
        ConfigError: it cannot be read.
    """
    file = folder / FILE
    try:
        return seal_from(json.loads(file.read_bytes()), str(file))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}; {_REMEDY}") from error


def public_keys(folder: Path) -> dict[str, Ed25519PublicKey]:
    """The keys of a folder by their persons' names.

    Raises:
        ConfigError: there is none, or one is no Ed25519 key.
    """
    keys: dict[str, Ed25519PublicKey] = {}
    for file in sorted(folder.glob(f"*{PUBLIC}")):
        try:
            key = serialization.load_pem_public_key(file.read_bytes())
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{file}: cannot be read as a public key: {error}; copy it again from its maker"
            ) from error
        if not isinstance(key, Ed25519PublicKey):
            raise ConfigError(f"{file}: not an Ed25519 key; make one with: rootdx config key NAME")
        keys[file.name.removesuffix(PUBLIC)] = key
    if not keys:
        raise ConfigError(
            f"{folder}: no *{PUBLIC} file of a person who may seal; copy it there: rootdx config key NAME"
        )
    return keys


def check(folder: Path, texts: Mapping[str, str], keys: Mapping[str, Ed25519PublicKey], newest: str = "") -> Seal:
    """The seal of a folder with these files, which one of the keys signed.

    Args:
        folder: where the seal lies.
        texts: what stands in its files, by name.
        keys: of those who may seal, by name.
        newest: when the newest seal ever taken up was made; an older one is refused.

    Raises:
        ConfigError: there is none, it does not fit, nobody trusted signed it, or it is an old one put back.
    """
    file, seal = folder / FILE, seal_in(folder)
    if seal is None:
        raise ConfigError(f"{file}: not there, and files without a seal are not taken up here; {_REMEDY}")
    key = keys.get(seal.signer)
    if key is None:
        raise ConfigError(
            f"{file}: sealed by {seal.signer!r}, who may not; those who may: {', '.join(keys)}; {_REMEDY}"
        )
    if not seal.is_of(key):
        raise ConfigError(f"{file}: the signature is not that of {seal.signer!r}; {_REMEDY}")
    now = digests(texts)
    odd = sorted(name for name in {*now, *seal.files} if now.get(name) != seal.files.get(name))
    if odd:
        raise ConfigError(f"{folder / odd[0]}: not as {seal.signer!r} sealed it{_more(odd)}; {_REMEDY}")
    if newest and seal.made_at < datetime.fromisoformat(newest):
        raise ConfigError(
            f"{file}: sealed at {seal.made}, before the seal of {newest} that was taken up here; "
            "an old state is a change as well: rootdx config seal"
        )
    return seal


def _more(names: list[str]) -> str:
    return f" (nor {', '.join(names[1:])})" if len(names) > 1 else ""
