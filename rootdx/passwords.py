"""Passwords of the database roles: made at random, kept in files that only their owner can read."""

import secrets
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.migrate import set_password
from pipeline.settings import read_secret

ROLES = (
    "rootdx_writer", "rootdx_reader", "rootdx_analytics", "rootdx_board", "rootdx_notify", "rootdx_report",
)  # fmt: skip
"""Every process that needs the database has one of its own."""


async def make(dsn: str, folder: Path) -> dict[str, Path]:
    """Gives each role the password in its file, which is made where there is none; returns the files.

    Raises:
        ConfigError: the folder cannot be written.
    """
    files = {}
    for role in ROLES:
        files[role] = kept(folder, role)
        await set_password(dsn, role, read_secret(files[role]))
    return files


def kept(folder: Path, role: str) -> Path:
    """The file with the password of a role, made where there is none.

    Raises:
        ConfigError: the folder cannot be written.
    """
    file = folder / f"{role}.password"
    if not file.exists():
        _write(file, secrets.token_urlsafe(24))
    return file


def _write(file: Path, secret: str) -> None:
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch(mode=0o600, exist_ok=False)
        file.write_text(secret + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{file}: cannot keep the password there: {error.strerror}") from error
