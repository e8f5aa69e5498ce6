"""A compliance record on paper: what was sealed, what the store says about it now, and how anybody can check it.

* Numbers come from the sealed content alone. Drawings come from the raw rows of today, so the paper says, at the moment
  of printing, whether those are still the rows that were sealed; if not, it says so larger than everything else.
* Dispositions of alarms and causes of gaps are printed as the journals have them, and say that they are not sealed.
* A content that does not fit its hash is not printed.
"""

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from zoneinfo import ZoneInfo

from pipeline.migrate import Connection
from pipeline.model import CAUSES
from rootdx.alarm_text import name_of, sentence
from rootdx.invocation import Site
from rootdx.paper import page, plots, press
from rootdx.paper.curves import Curve, overlaid
from rootdx.paper.evidence import FEW, Evidence, evidence_of
from rootdx.paper.many_cycles import feature_of, together, values
from rootdx.paper.sheet import (
    Attached,
    Block,
    Facts,
    Grid,
    Head,
    Picture,
    Said,
    Sheet,
    Tone,
    Words,
    judged,
    plain,
    tone_of,
    unit_of,
)
from rootdx.record_text import Section, beside, cycle_row, heads_of, holds, kind_of, of_cycle, remark_of, time_of
from rootdx.terminal import word
from rootdx.texts import say

REMARKS: Final = 12
"""So many remarks on the first page; the others in the appendix."""
FAULTS: Final = 6
ROWS: Final = 25
"""So many lines of a table on the first pages; longer ones are whole in the appendix."""
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?(e[+-]\d+)?")
_TONES: Final[Mapping[str, Tone]] = {"●": "good", "▲": "warn", "✖": "bad"}


async def record_pdf(db: Connection, site: Site, number: int) -> bytes:
    """The record as PDF/A-3b that carries its sealed content, in the language of this task.

    Raises:
        BadData: there is no record of this number.
        Unavailable, ConfigError: what the server says.
    """
    found = await evidence_of(db, site, number)
    return await asyncio.to_thread(lambda: press.pdf(composed(found)))


async def record_html(db: Connection, site: Site, number: int) -> str:
    """The record as one page that needs nothing from elsewhere, in the language of this task.

    Raises:
        BadData, Unavailable, ConfigError: as `record_pdf`.
    """
    found = await evidence_of(db, site, number)
    return await asyncio.to_thread(lambda: page.html_of(composed(found)))


async def record_sheet(db: Connection, site: Site, number: int) -> Sheet:
    """What is printed of a record.

    Raises:
        BadData, Unavailable, ConfigError: as `record_pdf`.
    """
    found = await evidence_of(db, site, number)
    return await asyncio.to_thread(composed, found)


def composed(found: Evidence) -> Sheet:
    """What is printed: takes a second or so of one core, for its charts."""
    sealed, said = found.sealed, found.said
    title = say("record.heading", number=sealed.number)
    subject = f"{kind_of(sealed.subject_kind)} {sealed.subject}"
    running = say(
        "paper.record.running", number=sealed.number, version=sealed.version, subject=subject, hash=sealed.hash[:16]
    )
    alarms = list(_alarms(found))
    stamp = Said(say("paper.record.invalid"), "bad") if alarms else judged(sealed.verdict.value)
    blocks: list[Block] = [_about(found), _verification(found)]
    if not said:
        return Sheet(title, subject, running, stamp, alarms, [*blocks, _seal(found)])
    zone = ZoneInfo(said["time_zone"])
    rest = [*(_grid(one) for one in beside(dict(said), zone)), *_journal(found, zone)]
    long = [replace(one, small=True) for one in rest if isinstance(one, Grid) and len(one.rows) > ROWS]
    cycles = [one for one in said["cycles"] if one["kind"] in said["asked"]["kinds"]] or said["cycles"]
    blocks += [
        *_remarks(said["remarks"][:REMARKS], zone, more=len(said["remarks"]) - REMARKS),
        *_charts(found, cycles),
        *(_one_by_one(cycles, zone) if len(cycles) <= FEW else together(cycles)),
        *(_in_front(one) for one in rest),
        *_completeness(found),
        _seal(found),
    ]
    attached = Attached(f"record-{sealed.number}.json", sealed.content, say("paper.record.attached"))
    return Sheet(title, subject, running, stamp, alarms, blocks, [*_appendix(said, cycles, zone), *long], attached)


def _in_front(block: Block) -> Block:
    """A block of the first pages; of a long table its beginning."""
    if not isinstance(block, Grid) or len(block.rows) <= ROWS:
        return block
    note = say("paper.record.long", shown=ROWS, all=len(block.rows))
    return replace(block, rows=block.rows[:ROWS], notes=[*block.notes, note])


def _alarms(found: Evidence) -> Iterator[str]:
    """What makes the paper worthless."""
    faults = [*found.faults, *found.before]
    if not faults:
        return
    if not holds(found.sealed):
        yield say("paper.record.broken")
    elif any(fault.what == "record" for fault in found.faults):
        yield say("paper.record.altered")
    elif found.faults:
        yield say("paper.record.changed")
    else:
        yield say("paper.record.chain")
    yield from (fault.text for fault in faults[:FAULTS])
    if len(faults) > FAULTS:
        yield say("paper.more", count=len(faults) - FAULTS)


def _about(found: Evidence) -> Facts:
    sealed, said = found.sealed, found.said
    zone = ZoneInfo(said["time_zone"]) if said else found.zone
    cycles = said.get("cycles", [])
    machines = sorted(
        {
            one["asset"] if one["machine"] in ("", one["asset"]) else f"{one['machine']} ({one['asset']})"
            for one in cycles
        }
    )
    ends = [
        time_of(text, zone)
        for text in (min((one["start"] for one in cycles), default=""), max((one["end"] for one in cycles), default=""))
        if text
    ]
    facts = [
        ("subject", f"{kind_of(sealed.subject_kind)} {sealed.subject}"),
        ("plant", said.get("plant", "")),
        ("sealed_verdict", word(sealed.verdict.value) if found.faults or found.before else ""),
        ("equipment", ", ".join(machines)),
        ("carried_out", " – ".join(ends)),
        ("cycles", str(len(cycles)) if cycles else ""),
        ("recipe", ", ".join(sorted({one["context"]["recipe"] for one in cycles if one["context"].get("recipe")}))),
        ("profile", sealed.profile),
        ("version", str(sealed.version)),
        ("made", f"{sealed.made.astimezone(zone):%Y-%m-%d %H:%M:%S} · {sealed.author}"),
        ("reason", sealed.reason),
        ("time_zone", zone.key),
    ]
    return Facts("", [(say(f"column.{name}"), plain(value)) for name, value in facts if value])


def _verification(found: Evidence) -> Words:
    when = f"{found.printed.astimezone(found.zone):%Y-%m-%d %H:%M:%S} {found.zone.key}"
    good = not found.faults and not found.before
    text = say("paper.record.verified" if good else "paper.record.not_verified", when=when)
    return Words(say("paper.record.verification"), [Said(text, "good" if good else "bad")])


def _remarks(remarks: Sequence[Mapping[str, Any]], zone: ZoneInfo, more: int = 0) -> Iterator[Block]:
    if remarks:
        lines = [Said(remark_of(one, zone)) for one in remarks]
        rest = [Said(say("paper.record.more_remarks", count=more))] if more > 0 else []
        yield Words(say("record.remarks"), [*lines, *rest])


def _charts(found: Evidence, cycles: Sequence[Mapping[str, Any]]) -> Iterator[Block]:
    note = [say("paper.record.not_sealed_rows")] if found.faults else []
    zone = ZoneInfo(found.said["time_zone"])
    for place, one in found.curves.items():
        yield _curve(one, found.said["cycles"][place], zone, note)
    if found.waves:
        panels = overlaid(found.waves, found.units)
        bad = sum(is_bad for _, is_bad in found.waves)
        notes = [say("paper.record.overlaid", shown=len(found.waves), all=len(cycles), bad=bad), *note]
        svg = plots.over_seconds(panels, (), say("paper.axis.seconds"))
        yield Picture(say("paper.record.bursts"), svg, notes[0], notes)


def _curve(one: Curve, cycle: Mapping[str, Any], zone: ZoneInfo, note: Sequence[str]) -> Block:
    where = _where(cycle, zone)
    title = say("paper.record.chart", where=where)
    if not one.panels:
        return Words(title, [Said(say("paper.record.no_chart"))])
    names = ", ".join(line.name for panel in one.panels for line in panel.lines if line.name)
    shades = [replace(shade, name=name_of("phase", shade.name)) for shade in one.shades]
    alt = say("paper.record.alt", signals=names, phases=", ".join(shade.name for shade in shades))
    if one.seconds:
        svg = plots.over_seconds(one.panels, shades, say("paper.axis.seconds"))
    else:
        svg = plots.over_time(one.panels, shades, zone)
    limits = [say("paper.record.limit_lines")] if any(panel.borders for panel in one.panels) else []
    return Picture(title, svg, alt, [*limits, *note])


def _where(cycle: Mapping[str, Any], zone: ZoneInfo) -> str:
    return f"{cycle['machine'] or cycle['asset']} · {name_of('kind', cycle['kind'])} · {time_of(cycle['start'], zone)}"


def _one_by_one(cycles: Sequence[Mapping[str, Any]], zone: ZoneInfo) -> Iterator[Block]:
    """What was judged of each of a few cycles."""
    for one in cycles:
        judged_ones = [feature for feature in one["features"] if feature["verdict"] is not None]
        said = {**one, "features": judged_ones, "raw": []}
        if not judged_ones:
            yield Words(_where(one, zone), [Said(say("paper.record.nothing_judged"), "warn")])
        yield from (_grid(section) for section in of_cycle(said, _where(one, zone)))


def _grid(section: Section, *, small: bool = False) -> Facts | Grid:
    """A section as a table; verdicts and states by their signs, features by what people call them."""
    if not section.heads:
        return Facts(section.title, [(kind_of(row[0]), Said(" · ".join(row[1:]))) for row in section.rows])
    named = say("column.feature") == section.heads[0]
    heads = [Head(text, number=_numeric(section, place)) for place, text in enumerate(section.heads)]
    units = section.heads.index(say("column.unit")) if say("column.unit") in section.heads else -1
    told = {0: feature_of if named else str, units: unit_of}
    rows = [
        [Said(told.get(place, str)(cell), _TONES.get(cell[:1], "")) for place, cell in enumerate(row)]
        for row in section.rows
    ]
    return Grid(section.title, heads, rows, small=small)


def _numeric(section: Section, place: int) -> bool:
    cells = [row[place].removesuffix(" %").replace(",", "") for row in section.rows if row[place][:1] not in ("", "–")]
    return bool(cells) and all(_NUMBER.fullmatch(cell) for cell in cells)


def _journal(found: Evidence, zone: ZoneInfo) -> Iterator[Block]:
    """Alarms and what people did about them, from the journal."""
    heads = [
        Head(text) for text in heads_of("raised", "machine", "priority", "explanation", "acknowledged_by", "done_text")
    ]
    rows = [
        [
            Said(f"{ts.astimezone(zone):%Y-%m-%d %H:%M:%S}"), Said(asset.rpartition("/")[2]),
            Said(say(f"grafana.priority.{priority}"), tone_of(priority)),
            Said(sentence(facts, zone)),
            Said(f"{who} · {at.astimezone(zone):%m-%d %H:%M}") if who else Said(say("paper.record.nobody"), "warn"),
            plain(reason),
        ]
        for ts, asset, priority, facts, who, at, reason in found.journal
    ]  # fmt: skip
    when = f"{found.printed.astimezone(zone):%Y-%m-%d %H:%M}"
    note = say("paper.record.journal_note", when=when) if rows else say("paper.record.no_alarms", when=when)
    yield Grid(say("paper.record.journal"), heads, rows, [note])


def _completeness(found: Evidence) -> Iterator[Block]:
    """Rows due, there and good, of the sealed counts; causes of gaps from the account of the database."""
    by_machine: dict[str, list[int]] = {}
    least = found.said["asked"]["least_coverage"]
    for cycle in found.said["cycles"]:
        total = by_machine.setdefault(cycle["asset"], [0, 0, 0, 0])
        for one in cycle["raw"]:
            total[0] += one["due"] or 0
            total[1] += one["rows"] if one["due"] else 0
            total[2] += one["good"]
            total[3] += one["rows"]
    heads = [
        Head(text, number=place > 0)
        for place, text in enumerate(heads_of("machine", "due_rows", "stored_rows", "good_rows", "all_rows"))
    ]
    rows = [[Said(asset), *(plain(f"{one:,}") for one in total)] for asset, total in by_machine.items() if any(total)]
    shares = [one["coverage"] for one in found.said["cycles"] if one["coverage"] is not None]
    notes = (
        [say("paper.record.coverage", least=f"{100 * min(shares):.1f}", asked=f"{100 * least:.1f}")]
        if shares
        else [say("paper.record.no_coverage")]
    )
    yield Grid(say("paper.record.completeness"), heads, rows, notes)
    if found.gaps:
        names = [say(f"grafana.cause.{one.value}") for one in CAUSES]
        heads = [
            Head(say("column.machine")),
            Head(say("column.due_rows"), number=True),
            *(Head(name, number=True) for name in names),
        ]
        gaps = [[Said(asset), *(plain(f"{int(one or 0):,}") for one in some)] for asset, *some in found.gaps]
        yield Grid(say("paper.record.gaps"), heads, gaps, [say("paper.record.gaps_note")])


def _seal(found: Evidence) -> Words:
    """Hash, previous hash and the commands that check both, with our program and without it."""
    sealed = found.sealed
    plain_check = (
        f"(printf '%s\\n%s\\n' {sealed.number} {sealed.previous}; cat record-{sealed.number}.json) | sha256sum"
    )
    return Words(say("paper.record.seal"), [
        Said(say("paper.record.hash")), Said(sealed.hash, "code"),
        Said(say("paper.record.previous")), Said(sealed.previous, "code"),
        Said(say("paper.record.how")), Said(f"rootdx record verify {sealed.number}", "code"),
        Said(say("paper.record.how_plain", file=f"record-{sealed.number}.json")), Said(plain_check, "code"),
    ])  # fmt: skip


def _appendix(said: Mapping[str, Any], cycles: Sequence[Mapping[str, Any]], zone: ZoneInfo) -> Iterator[Block]:
    """Everything that the first pages sum up."""
    yield from _remarks(said["remarks"][REMARKS:], ZoneInfo(said["time_zone"]))
    heads = heads_of("start", "end", "machine", "kind", "lane", "verdict", "flags", "coverage")
    yield _grid(Section(say("record.cycles"), heads, [cycle_row(one, zone) for one in said["cycles"]]), small=True)
    if len(cycles) > FEW:
        yield from values(cycles, zone)
        return
    for one in said["cycles"]:
        yield from (_grid(section, small=True) for section in of_cycle(one, _where(one, zone)))
