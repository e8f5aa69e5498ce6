"""Accounts, sessions and the journal of the board, in the store.

* A password is kept as Argon2id; a session's token is with the browser alone, the store has its SHA-256.
* A wrong name takes as long as a wrong password, so nobody learns which names there are.
* Tries are counted by name and by address; whoever tries too often waits, also with the right password. Only where a
  name has signed in from before, what others try with it does not count: nobody is locked out by a stranger.
"""

import asyncio
import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from psycopg.types.json import Jsonb

from pipeline.errors import BadData
from pipeline.migrate import Connection
from rootdx.board.access import ROLES, Person, Refused, Role
from rootdx.export import Table, column
from rootdx.invocation import ask
from rootdx.moments import Span
from rootdx.texts import say

LEAST_LETTERS: Final = 10
MOST_LETTERS: Final = 200
_TRIES: Final = 10
"""Wrong passwords of one name or one address in a row before it has to wait."""
HOMES: Final = 10_000
"""Pairs of a name and an address that are remembered."""
_PER_S: Final = 1 / 30
"""So many tries come back a second."""
_HASHER: Final = PasswordHasher()
_HASHING: Final = asyncio.Semaphore(2)
"""Hashes at once: each takes 64 MB and a core for 50 ms, and must not stop the board."""
_NOBODY: Final = _HASHER.hash(secrets.token_urlsafe(16))


def hashed(password: str) -> str:
    """A password as it is kept.

    Raises:
        BadData: it is too short to be one, or too long.
    """
    if not LEAST_LETTERS <= len(password) <= MOST_LETTERS:
        raise BadData(say("board.account.password_length", least=LEAST_LETTERS, most=MOST_LETTERS))
    return _HASHER.hash(password)


@dataclass(slots=True)
class Tries:
    """How often a name or an address may still try; a bucket that fills up again."""

    left: dict[str, tuple[float, float]] = field(default_factory=dict)
    at_home: dict[tuple[str, str], None] = field(default_factory=dict)
    """Names and the addresses from which they have signed in, the latest last."""

    def keys(self, name: str, address: str) -> tuple[str, ...]:
        """What a try with a name from an address counts for."""
        who = name.casefold()[:80]
        own = f"address {address}"
        return (own,) if (who, address) in self.at_home else (f"name {who}", own)

    def wait_s(self, key: str, now: float) -> float:
        """Seconds until the next try is heard; 0: now.

        >>> tries = Tries()
        >>> for _ in range(10):
        ...     tries.failed("kim", 0.0)
        >>> tries.wait_s("kim", 0.0), tries.wait_s("kim", 30.0), tries.wait_s("lee", 0.0)
        (30.0, 0.0, 0.0)
        """
        count, since = self.left.get(key, (float(_TRIES), now))
        count = min(count + (now - since) * _PER_S, float(_TRIES))
        return max(0.0, (1.0 - count) / _PER_S)

    def failed(self, key: str, now: float) -> None:
        """One try less."""
        count, since = self.left.get(key, (float(_TRIES), now))
        self.left[key] = (min(count + (now - since) * _PER_S, float(_TRIES)) - 1.0, now)
        if len(self.left) > 10_000:  # an attacker who invents names: forget those that are full again
            self.left = {name: one for name, one in self.left.items() if self.wait_s(name, now) > 0}

    def passed(self, name: str, address: str) -> None:
        """The right password: all tries are back."""
        for key in self.keys(name, address):
            self.left.pop(key, None)
        home = (name.casefold()[:80], address)
        self.at_home.pop(home, None)
        self.at_home[home] = None
        if len(self.at_home) > HOMES:
            del self.at_home[next(iter(self.at_home))]


class People:
    """The tables of the board over one connection with autocommit."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    async def signed_in(self, name: str, password: str, address: str, tries: Tries) -> tuple[Person, str]:
        """A person and the token of a new session.

        Raises:
            Refused: wrong name or password, disabled, or too many tries.
        """
        now, keys = time.monotonic(), tries.keys(name, address)
        wait_s = max(tries.wait_s(key, now) for key in keys)
        if wait_s > 0:
            raise Refused(429, "too_many", say("board.sign_in.wait", seconds=f"{wait_s:.0f}"), wait_s)
        for key in keys:
            tries.failed(key, now)  # counted before it is looked at: many at once count as many
        rows = await ask(self._db, "SELECT name, role, password, disabled FROM rootdx.account WHERE name = %s", [name])
        kept = rows[0][2] if rows else _NOBODY
        async with _HASHING:
            right = await asyncio.to_thread(_is_right, kept, password[: MOST_LETTERS + 1])
        if not rows or not right or rows[0][3]:
            await self.note(Person(name[:60], "operator", address), "sign_in_refused", name[:60], {})
            raise Refused(401, "unauthenticated", say("board.sign_in.wrong"))
        tries.passed(name, address)
        person, token = Person(rows[0][0], rows[0][1], address), secrets.token_urlsafe(32)
        await ask(
            self._db, "INSERT INTO rootdx.board_session (digest, account) VALUES (%s, %s)", [_digest(token), name]
        )
        await ask(self._db, _OLD)
        await self.note(person, "signed_in", name, {})
        return person, token

    async def known(self, token: str, address: str, session_h: float, idle_h: float) -> Person | None:
        """Who a token belongs to; None when its session is over."""
        rows = await ask(self._db, _KNOWN, {"digest": _digest(token), "session_h": session_h, "idle_h": idle_h})
        return Person(rows[0][0], rows[0][1], address) if rows else None

    async def signed_out(self, token: str) -> None:
        """Ends a session."""
        await ask(self._db, "DELETE FROM rootdx.board_session WHERE digest = %s", [_digest(token)])

    async def note(self, person: Person, action: str, subject: str, data: Mapping[str, Any]) -> None:
        """One line in the journal."""
        given = [person.name, person.role, person.address, action, subject, Jsonb(dict(data))]
        await ask(self._db, _NOTE, given)

    async def add(self, name: str, role: Role, password: str) -> None:
        """A new account.

        Raises:
            BadData: there is one of that name, or name, role or password will not do.
        """
        if role not in ROLES:
            raise BadData(say("board.account.role", role=role, roles=", ".join(ROLES)))
        if not name.strip() or name != name.strip() or len(name) > 60 or not name.isprintable():
            raise BadData(say("board.account.name", name=name))
        kept = await asyncio.to_thread(hashed, password)
        if not await ask(self._db, _ADD, [name, role, kept]):
            raise BadData(say("board.account.exists", name=name))

    async def change(
        self, name: str, *, role: Role | None = None, password: str | None = None, disabled: bool | None = None
    ) -> None:
        """Changes an account; its sessions end.

        Raises:
            BadData: nobody has that name, the password will not do, or no admin would be left.
        """
        if role is not None and role not in ROLES:
            raise BadData(say("board.account.role", role=role, roles=", ".join(ROLES)))
        kept = None if password is None else await asyncio.to_thread(hashed, password)
        async with self._db.transaction():
            await ask(self._db, "LOCK TABLE rootdx.account IN SHARE ROW EXCLUSIVE MODE")
            rows = await ask(self._db, _CHANGE, {"name": name, "role": role, "password": kept, "disabled": disabled})
            if not rows:
                raise BadData(say("board.account.unknown", name=name))
            if not (await ask(self._db, _ADMINS))[0][0] and (role not in (None, "admin") or disabled):
                raise BadData(say("board.account.last_admin"))
            await ask(self._db, "DELETE FROM rootdx.board_session WHERE account = %s", [name])

    async def is_empty(self) -> bool:
        """Whether nobody has an account yet."""
        return not await ask(self._db, "SELECT 1 FROM rootdx.account LIMIT 1")

    async def table(self, zone: str) -> Table:
        """Every account."""
        columns = [
            column("name"), column("role"), column("disabled", "flag"), column("created", "time"),
            column("changed", "time"), column("last_seen", "time"),
        ]  # fmt: skip
        return Table("accounts", say("board.account.title"), columns, await ask(self._db, _TABLE), zone)

    async def journal(self, span: Span, zone: str) -> Table:
        """What people did, newest first."""
        columns = [
            column("time", "time"), column("who"), column("role"), column("address"), column("action"),
            column("subject"), column("data"),
        ]  # fmt: skip
        rows = await ask(self._db, _JOURNAL, [span.first, span.last])
        cells = [[*row[:4], _action(row[4]), *row[5:]] for row in rows]
        return Table("board_journal", say("board.journal.title"), columns, cells, zone)


def _action(name: str) -> str:
    return say(f"board.action.{name}")


def _is_right(kept: str, password: str) -> bool:
    try:
        return _HASHER.verify(kept, password)
    except (VerificationError, InvalidHashError):
        return False


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


_KNOWN: Final = """
    UPDATE rootdx.board_session s SET seen = now() FROM rootdx.account a
    WHERE s.digest = %(digest)s AND a.name = s.account AND NOT a.disabled
      AND s.begun > now() - %(session_h)s * INTERVAL '1 hour' AND s.seen > now() - %(idle_h)s * INTERVAL '1 hour'
    RETURNING a.name, a.role"""
_OLD: Final = "DELETE FROM rootdx.board_session WHERE begun < now() - INTERVAL '90 days'"
_NOTE: Final = """
    INSERT INTO rootdx.board_journal (who, role, address, action, subject, data) VALUES (%s, %s, %s, %s, %s, %s)"""
_ADD: Final = """
    INSERT INTO rootdx.account (name, role, password) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING RETURNING name"""
_CHANGE: Final = """
    UPDATE rootdx.account SET role = coalesce(%(role)s, role), password = coalesce(%(password)s, password),
        disabled = coalesce(%(disabled)s, disabled), changed = now()
    WHERE name = %(name)s RETURNING name"""
_ADMINS: Final = "SELECT count(*) FROM rootdx.account WHERE role = 'admin' AND NOT disabled"
_TABLE: Final = """
    SELECT a.name, a.role, a.disabled, a.created, a.changed, max(s.seen)
    FROM rootdx.account a LEFT JOIN rootdx.board_session s ON s.account = a.name GROUP BY a.name ORDER BY a.name"""
_JOURNAL: Final = """
    SELECT ts, who, role, address, action, subject, data::text FROM rootdx.board_journal
    WHERE ts >= %s AND ts < %s ORDER BY entry_id DESC LIMIT 5000"""
