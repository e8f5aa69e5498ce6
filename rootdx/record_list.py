"""Records of the store as tables: a list, and what verifying them found."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from analytics.machines import load_machines
from analytics.record_store import Fault, RecordStore, Sealed, Subject
from analytics.records import load_profiles
from pipeline.errors import BadData, ConfigError
from pipeline.migrate import Connection
from rootdx.export import Cell, Table, column
from rootdx.invocation import Site, ask, database
from rootdx.terminal import Advance
from rootdx.texts import say


async def listed(db: Connection, subject: Subject | None, zone: str) -> Table:
    """All records, or those of a subject, in order."""
    given = {"kind": subject.kind if subject else None, "name": subject.name if subject else None}
    columns = [
        column("record", "whole"), column("made", "time"), column("subject_kind"), column("subject"),
        column("version", "whole"), column("verdict"), column("profile"), column("author"), column("reason"),
        column("hash"),
    ]  # fmt: skip
    return Table("records", say("record.title"), columns, await ask(db, _LIST, given), zone)


@dataclass(frozen=True, slots=True)
class Making:
    """How a record is made.

    Attributes:
        profile: name; None: the one that fits.
        profiles: file of the plant in place of ours.
        author: who makes it.
        reason: why again.
    """

    profile: str | None
    profiles: Path | None
    author: str
    reason: str


async def made(site: Site, subject: Subject, how: Making) -> Sealed:
    """A new record of a subject.

    Raises:
        BadData, ConfigError: as `RecordStore.make`.
    """
    plant, machines = load_machines(site.settings.analytics.plant)
    profiles = load_profiles(how.profiles)
    if how.profile is not None and how.profile not in profiles:
        raise ConfigError(say("record.no_profile", name=how.profile, names=", ".join(profiles)))
    async with database(site.store) as db:
        store = RecordStore(db, plant, machines)
        return await store.make(subject, profiles, profile=how.profile, author=how.author, reason=how.reason)


async def one(site: Site, number: int) -> Sealed:
    """A record by its number.

    Raises:
        BadData: there is none.
    """
    async with database(site.store) as db:
        found = await RecordStore(db, site.plant, []).read(number)
    if not found:
        raise BadData(say("record.unknown", number=number))
    return found[0]


async def verified(site: Site, number: int | None, advance: Advance) -> tuple[int, list[Fault], str]:
    """How many records were looked at, what is not as it was sealed (of one, or of all), and the last seal of them.

    Raises:
        BadData: there is no record of this number.
    """
    faults: list[Fault] = []
    seen, seal = 0, ""
    async with database(site.store) as db:
        ((total, last),) = await ask(db, "SELECT count(*), coalesce(max(number), 0) FROM rootdx.compliance_record")
        if number is not None and number > last:
            raise BadData(say("record.unknown", number=number))
        async for record, some in RecordStore(db, site.plant, []).verify(number):
            seen, seal = seen + 1, record.hash
            faults += [fault for fault in some if number in (None, fault.number)]
            advance(seen, total)
            if number is not None and record.number >= number:
                break
    return 1 if number is not None else seen, faults, seal


def fault_table(faults: Sequence[Fault], zone: str) -> Table:
    """What verifying found."""
    rows: list[list[Cell]] = [[fault.number, fault.what, fault.text] for fault in faults]
    columns = [column("record", "whole"), column("kind"), column("text")]
    return Table("faults", say("record.faults"), columns, rows, zone)


_LIST: Final = """
    SELECT number, made, subject_kind, subject, version, verdict, profile, author, reason, hash
    FROM rootdx.compliance_record
    WHERE %(kind)s::text IS NULL OR (subject_kind = %(kind)s AND subject = %(name)s) ORDER BY number"""
