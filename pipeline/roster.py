"""The writers at work on one database, and which of them serves which gateway.

* A gateway is served by the writer that scores highest for it among those alive that serve it at all (rendezvous
  hashing): who sees the same list comes to the same answer, and one who comes or goes moves only what is its own.
* One who comes is made room for first: the others let go of its gateways, store what they had gathered of them, and
  only then say that they know it; it takes a gateway when all who are alive know it.
* Alive is who said so within FORGET_S by the database's clock; within GRACE_S where its connection is gone, which is
  what remains of a process that was killed.
* Nothing here is a guarantee. Two who serve one gateway for a moment lose a transaction; the ledger is the guard.
"""

import hashlib
import re
import socket
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.database import translated
from pipeline.errors import Unavailable
from pipeline.migrate import Connection

BEAT_S: Final = 0.5
"""How often a writer says that it is there."""
WAITING_S: Final = 0.2
"""Likewise, while it waits to be made room for."""
GRACE_S: Final = 1.5
"""For a new connection to broker and database, before others take over."""
FORGET_S: Final = 8.0
"""A writer whose connection is there and that says nothing: frozen, or its computer is gone."""
MOST: Final = 100
"""Writers that may want to be called the same."""


_NOWHERE: Final = uuid.UUID(int=0)


@dataclass(frozen=True, slots=True)
class Member:
    """A writer that is alive.

    Attributes:
        name: unique among them.
        gateways: which it serves; none: all.
        stay: of its line on the list; another one each time it comes, so that who left and came back is seen to have.
    """

    name: str
    gateways: tuple[str, ...] = ()
    stay: uuid.UUID = _NOWHERE

    def serves(self, gateway: str) -> bool:
        """Whether it would, were it alone."""
        return not self.gateways or gateway in self.gateways


@dataclass(frozen=True, slots=True)
class Share:
    """What falls to one writer while these are alive.

    Attributes:
        me: the writer.
        members: all, itself included, by name.
    """

    me: str
    members: tuple[Member, ...]

    def owns(self, gateway: str) -> bool:
        """Whether a gateway is served by this writer."""
        return owner(gateway, self.members) == self.me

    @property
    def leads(self) -> bool:
        """Whether it does what is to be done by one alone."""
        return self.me == self.members[0].name


@dataclass(frozen=True, slots=True)
class Seen:
    """What a writer sees when it says that it is there.

    Attributes:
        share: what falls to it.
        welcome: whether all the others have made room for it.
    """

    share: Share
    welcome: bool


def owner(gateway: str, members: Sequence[Member]) -> str | None:
    """Who serves a gateway; None where nobody's list has it.

    >>> owner("gw-1", [Member("a"), Member("b", ("gw-2",))])
    'a'
    >>> owner("gw-1", [Member("b", ("gw-2",))]) is None
    True
    """
    serving = [one.name for one in members if one.serves(gateway)]
    if len(serving) < 2:
        return serving[0] if serving else None
    return max(serving, key=lambda name: _score(gateway, name))


def _score(gateway: str, name: str) -> tuple[bytes, str]:
    return hashlib.blake2b(f"{gateway}\n{name}".encode(), digest_size=8).digest(), name


def own_name() -> str:
    """What a writer is called that nobody gave a name: as its computer."""
    return re.sub(r"[^a-z0-9]+", "-", socket.gethostname().lower()).strip("-")[:48] or "writer"


class Roster:
    """This writer's line on the list; on the connection that it stores with: who cannot store is not alive."""

    def __init__(self, db: Connection, member: Member, life: uuid.UUID) -> None:
        self._db, self._wanted, self._life = db, member, life
        self._me = member

    async def join(self) -> None:
        """Onto the list, under the name last used in this life, the one wanted, or that with a number behind it.

        Raises:
            Unavailable: no connection, or every name is taken.
        """
        name = self._wanted.name or own_name()
        with translated():
            await self._db.execute(_CLEAR, [60.0])
            mine = await (await self._db.execute(_MINE, [self._life])).fetchone()
            names = [name, *(f"{name}-{number}" for number in range(2, MOST))]
            for one in [*(mine or ()), *names]:
                me = Member(one, self._wanted.gateways, uuid.uuid4())
                taken = [one, self._life, me.stay, list(me.gateways), FORGET_S]
                if (await self._db.execute(_JOIN, taken)).rowcount:
                    self._me = me
                    return
        raise Unavailable(f"writer.name = {name!r}: {MOST} writers are called so; give this one another")

    async def beat(self) -> Seen:
        """Says that this writer is there.

        Raises:
            Unavailable: no connection, or the line is somebody else's by now; join again.
        """
        with translated():
            found = await self._db.execute(_BEAT, [self._me.name, self._life, self._me.name, FORGET_S, GRACE_S])
            rows = await found.fetchall()
        if not any(mine for *_, mine in rows):
            raise Unavailable(f"writer {self._me.name} was not seen for too long, and taken off the list")
        others = [
            (Member(name, tuple(gateways), stay), knows) for name, gateways, stay, knows, mine in rows if not mine
        ]
        members = sorted([self._me, *(other for other, _ in others)], key=lambda one: one.name)
        return Seen(Share(self._me.name, tuple(members)), all(self._me.stay in knows for _, knows in others))

    async def welcome(self, share: Share) -> None:
        """Says that this writer has let go of what falls to the others."""
        stays = [one.stay for one in share.members]
        with translated():
            await self._db.execute(_KNOWS, [stays, self._me.name, self._life])

    async def leave(self) -> None:
        """Off the list, at once."""
        with translated():
            await self._db.execute(_LEAVE, [self._me.name, self._life])


_CLEAR: Final = """
    DELETE FROM rootdx.writer WHERE name IN (
        SELECT name FROM rootdx.writer WHERE seen < clock_timestamp() - %s * INTERVAL '1 s' FOR UPDATE SKIP LOCKED)"""
_MINE: Final = "SELECT name FROM rootdx.writer WHERE life = %s LIMIT 1"
_JOIN: Final = """
    INSERT INTO rootdx.writer AS known (name, life, stay, gateways, backend) VALUES (%s, %s, %s, %s, pg_backend_pid())
    ON CONFLICT (name) DO UPDATE SET life = EXCLUDED.life, stay = EXCLUDED.stay, gateways = EXCLUDED.gateways,
        knows = '{}', backend = EXCLUDED.backend, seen = clock_timestamp()
    WHERE known.life = EXCLUDED.life OR known.seen < clock_timestamp() - %s * INTERVAL '1 s'
        OR NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = known.backend)"""
_BEAT: Final = """
    WITH me AS (
        UPDATE rootdx.writer SET seen = clock_timestamp(), backend = pg_backend_pid() WHERE name = %s AND life = %s
        RETURNING name, gateways, stay, knows)
    SELECT name, gateways, stay, knows, true FROM me
    UNION ALL
    SELECT w.name, w.gateways, w.stay, w.knows, false FROM rootdx.writer w
    WHERE w.name <> %s AND w.seen >= clock_timestamp() - %s * INTERVAL '1 s'
        AND (w.seen >= clock_timestamp() - %s * INTERVAL '1 s'
             OR EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = w.backend))"""
_KNOWS: Final = "UPDATE rootdx.writer SET knows = %s WHERE name = %s AND life = %s"
_LEAVE: Final = "DELETE FROM rootdx.writer WHERE name = %s AND life = %s"
