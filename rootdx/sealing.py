"""A person's key, a seal over a plant folder, and the history of what gateways took up. See pipeline/seal.md."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from collectors.plant_files import KIND
from collectors.protocols import MachineFile
from pipeline import seal as seals
from pipeline.errors import ConfigError
from pipeline.migrate import Connection
from pipeline.plant import load_folder, texts_in
from pipeline.seal import PUBLIC, Seal
from pipeline.topics import slug
from rootdx.invocation import ask
from rootdx.moments import Span
from rootdx.server import write
from rootdx.texts import say

_HISTORY: Final = """
SELECT e.ts, a.path, e.data FROM rootdx.event e JOIN rootdx.asset a USING (asset_id)
WHERE e.kind = %(kind)s AND e.ts >= %(since)s AND e.ts < %(until)s ORDER BY a.path, e.ts"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One change that a gateway took up.

    Attributes:
        when: it did.
        gateway: asset of the gateway.
        seal: what it was sealed with, None: nothing.
        files: digest by name, as taken up.
        added, changed, removed: names of files.
        verdict: `sealed`, `not_sealed`, `unknown_signer`, `forged`, or `gap`: another seal came in between
            that was never taken up.
    """

    when: datetime
    gateway: str
    seal: Seal | None
    files: Mapping[str, str]
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    verdict: str


def make_key(folder: Path, name: str, password: str) -> Path:
    """A person's key in two files; the private one is locked with a password. Gives the public one.

    Raises:
        ConfigError: the name is none or taken, the password is empty, or the folder cannot be written.
    """
    file, secret = folder / f"{slug(name, 'name')}{PUBLIC}", folder / f"{name}.key"
    if file.exists() or secret.exists():
        raise ConfigError(
            f"{file}: is there already, and what it sealed could not be checked any more; take another name"
        )
    if not password:
        raise ConfigError(say("config.no_password"))
    key = Ed25519PrivateKey.generate()
    lock = serialization.BestAvailableEncryption(password.encode())
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    _put(secret, key.private_bytes(pem, form, lock).decode())
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    _put(file, public.decode(), 0o644)
    return file


def _put(file: Path, text: str, mode: int = 0o600) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write(file, text, mode)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}; choose a folder that is yours") from error


def private_key(file: Path, password: str) -> Ed25519PrivateKey:
    """A person's key.

    Raises:
        ConfigError: it cannot be read, the password is wrong, or it is no key for seals.
    """
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), password.encode())
    except OSError as error:
        raise ConfigError(
            f"{file}: cannot be read: {error.strerror}; make a key with: rootdx config key NAME"
        ) from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{file}: wrong password, or no key of `rootdx config key`") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{file}: not an Ed25519 key; make one with: rootdx config key NAME")
    return key


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[tuple[str, str]]:
    """What happened to each file that is not as before, and its name."""
    found = [(name, "added" if name not in before else "changed") for name in now if before.get(name) != now[name]]
    found += [(name, "removed") for name in before if name not in now]
    return [(what, name) for name, what in sorted(found)]


def unsealed(folder: Path) -> tuple[Seal | None, dict[str, str]]:
    """The seal that lies in a folder, and the digests of the files as they are, which are right.

    Raises:
        ConfigError: a file or the seal is wrong.
    """
    texts = texts_in(folder)
    load_folder(folder, MachineFile, texts)
    return seals.seal_in(folder), seals.digests(texts)


def put_seal(folder: Path, key_file: Path, password: str, note: str, now: datetime) -> Seal:
    """Seals a folder, after the seal that is there.

    Raises:
        ConfigError: a file is wrong, the note is empty, or the key cannot be used.
    """
    if not note.strip():
        raise ConfigError(say("config.no_note"))
    before, files = unsealed(folder)
    number, last = (before.number + 1, before.digest) if before else (1, "")
    made = (max(now, before.made_at + timedelta(seconds=1)) if before else now).replace(microsecond=0).isoformat()
    seal = Seal(number, made, key_file.stem, note.strip(), last, files).signed(private_key(key_file, password))
    _put(folder / seals.FILE, seal.text(), 0o644)
    return seal


async def history(db: Connection, span: Span, keys: Mapping[str, Ed25519PublicKey]) -> list[Entry]:
    """What gateways took up in a span of time, by gateway, the oldest first, judged by the keys."""
    rows = await ask(db, _HISTORY, {"kind": KIND, "since": span.first, "until": span.last})
    entries: list[Entry] = []
    for when, gateway, data in rows:
        before = entries[-1] if entries and entries[-1].gateway == gateway else None
        entries.append(_entry(when, gateway, data, before, keys))
    return entries


def _entry(
    when: datetime, gateway: str, data: dict[str, Any], before: Entry | None, keys: Mapping[str, Ed25519PublicKey]
) -> Entry:
    added, changed, removed = (tuple(map(str, data.get(key, ()))) for key in ("added", "changed", "removed"))
    seal, files = None, data.get("files", {})
    if "seal" in data:
        try:
            seal = seals.seal_from(data["seal"], gateway)
        except ConfigError:  # somebody wrote it who is no gateway
            return Entry(when, gateway, None, {}, added, changed, removed, "forged")
        files = seal.files
    return Entry(when, gateway, seal, files, added, changed, removed, _verdict(seal, before, keys))


def _verdict(seal: Seal | None, before: Entry | None, keys: Mapping[str, Ed25519PublicKey]) -> str:
    if seal is None:
        return "not_sealed"
    if seal.signer not in keys:
        return "unknown_signer"
    if not seal.is_of(keys[seal.signer]):
        return "forged"
    follows = before is None or before.seal is None or seal.before == before.seal.digest
    return "sealed" if follows else "gap"


def fitting(folder: Path, signers: Path) -> Seal:
    """The seal of a folder that a gateway would take up.

    Raises:
        ConfigError: it would not.
    """
    return seals.check(folder, texts_in(folder), seals.public_keys(signers))


def names_of(entries: Sequence[Entry]) -> list[str]:
    """Of each entry: what happened to which files, in few words."""
    signs = (("+", "added"), ("~", "changed"), ("−", "removed"))
    return [" ".join(f"{sign}{name}" for sign, key in signs for name in getattr(one, key)) for one in entries]
