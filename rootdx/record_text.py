"""A compliance record as plain text, from its stored content and nothing else; `paper/` prints the same tables.

* In the language of this process; alarm texts stand as they were sealed.
* Times in the zone that the record names.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from unicodedata import east_asian_width
from zoneinfo import ZoneInfo

from analytics.record_store import Sealed
from analytics.records import hash_of
from rootdx.alarm_text import name_of, number as of_unit
from rootdx.terminal import number, reason, word
from rootdx.texts import say


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and a table below it; without headings of columns it is a list."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


def holds(one: Sealed) -> bool:
    """Whether the content is what was sealed."""
    return hash_of(one.number, one.previous, one.content) == one.hash


def text_of(one: Sealed) -> str:
    """The record as plain text."""
    said = json.loads(one.content)
    lines = [say("record.heading", number=said["number"]), f"  {word(said['verdict'])}", ""]
    for part in _sections(one, said):
        lines += [part.title, "-" * _wide(part.title)]
        lines += [f"  {line}" for line in _aligned([*([part.heads] if part.heads else []), *part.rows])]
        lines.append("")
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _sections(one: Sealed, said: dict[str, Any]) -> Iterator[Section]:
    zone = ZoneInfo(said["time_zone"])
    yield Section(say("record.about"), (), _about(one, said, zone))
    if said["remarks"]:
        yield Section(say("record.remarks"), (), [[remark_of(remark, zone)] for remark in said["remarks"]])
    yield Section(
        say("record.cycles"), heads_of("start", "end", "machine", "kind", "lane", "verdict", "flags", "coverage"),
        [cycle_row(cycle, zone) for cycle in said["cycles"]],
    )  # fmt: skip
    for cycle in said["cycles"]:
        where = f"{cycle['machine'] or cycle['asset']} · {cycle['kind']} · {time_of(cycle['start'], zone)}"
        yield from of_cycle(cycle, where)
    yield from beside(said, zone)


def remark_of(remark: Mapping[str, Any], zone: ZoneInfo) -> str:
    """What speaks against a pass, in a sentence of the language of this process."""
    facts, unit = remark["facts"], remark["facts"].get("unit", "1")
    low, high = (say("record.no_limit") if facts.get(name) is None else f"{facts[name]:g}" for name in ("low", "high"))
    value, coverage = facts.get("value"), facts.get("coverage")
    told = say(
        f"record.remark.{remark['key']}",
        name=name_of("feature", facts.get("name", "")),
        value=reason(facts.get("reason", "")) if value is None else of_unit(value, unit),
        low=low, high=high, flag=facts.get("flag", ""), kinds=", ".join(facts.get("kinds", ())),
        coverage="–" if coverage is None else f"{100 * coverage:.1f} %", least=f"{100 * facts.get('least', 0):g} %",
        check=facts.get("check", ""), subject=facts.get("subject", ""), machine=facts.get("asset", ""),
        done=facts.get("done"), due=facts.get("due"),
    )  # fmt: skip
    where = f"{name_of('kind', facts['kind'])} {time_of(facts['start'], zone)}: " if "start" in facts else ""
    return f"{word(remark['verdict'])} · {where}{told}"


def _about(one: Sealed, said: dict[str, Any], zone: ZoneInfo) -> list[list[str]]:
    subject = f"{kind_of(said['subject']['kind'])} {said['subject']['name']}"
    facts = [
        ("subject", subject), ("plant", said["plant"]), ("profile", said["profile"]),
        ("version", str(said["version"])), ("made", time_of(said["made"], zone)), ("author", said["author"]),
        ("reason", said["reason"]), ("time_zone", said["time_zone"]), ("hash", one.hash),
        ("seal", say("record.holds" if holds(one) else "record.broken")),
    ]  # fmt: skip
    return [[say(f"column.{name}"), value] for name, value in facts if value]


def cycle_row(cycle: dict[str, Any], zone: ZoneInfo) -> list[str]:
    """A cycle in one line."""
    share = cycle["coverage"]
    return [
        time_of(cycle["start"], zone), time_of(cycle["end"], zone), cycle["asset"], cycle["kind"], cycle["lane"],
        word(cycle["verdict"] or ""), " ".join(cycle["flags"]), "–" if share is None else f"{100 * share:.1f} %",
    ]  # fmt: skip


def of_cycle(cycle: dict[str, Any], where: str) -> Iterator[Section]:
    """Features, context and raw rows of a cycle, those that there are."""
    if cycle["features"]:
        heads = heads_of("feature", "value", "unit", "low", "high", "verdict", "formula", "coverage")
        rows = [
            [
                one["name"], f"– {reason(one['reason'])}" if one["value"] is None else number(one["value"]),
                one["unit"], limit_of(one["low"]), limit_of(one["high"]), word(one["verdict"] or ""),
                f"{one['formula']} {one['formula_version']}", f"{100 * one['coverage']:.1f} %",
            ]
            for one in cycle["features"]
        ]  # fmt: skip
        yield Section(f"{say('cycles.features')} · {where}", heads, rows)
    pairs = [
        *cycle["context"].items(),
        *((name_of("feature", name), word(value)) for name, value in cycle["verdicts"].items()),
    ]
    if pairs:
        yield Section(f"{say('cycles.context')} · {where}", (), [[name, value] for name, value in pairs])
    if cycle["raw"]:
        heads = heads_of("tag", "rows", "due_rows", "good_rows")
        rows = [
            [one["tag"], str(one["rows"]), "–" if one["due"] is None else str(one["due"]), str(one["good"])]
            for one in cycle["raw"]
        ]
        yield Section(f"{say('record.raw')} · {where}", heads, rows)


def beside(said: dict[str, Any], zone: ZoneInfo) -> Iterator[Section]:
    """Checks, laboratory, alarms and origins."""
    checks = [
        [asset, one["kind"], one["subject"], one["done"] or "–", one["due"] or "–",
         word("failed" if one["failed"] else one["state"]), one["document"], one["author"]]
        for asset, some in said["checks"].items() for one in some
    ]  # fmt: skip
    if checks:
        heads = heads_of("machine", "check", "subject", "done", "due", "state", "document", "author")
        yield Section(say("record.checks"), heads, checks)
    if said["lab"]:
        heads = heads_of("sampled", "machine", "name", "value", "unit", "item", "sample", "method", "author")
        yield Section(say("record.lab"), heads, [_lab(one, zone) for one in said["lab"]])
    if said["alarms"]:
        rows = [
            [time_of(one["ts"], zone), one["asset"], one["kind"], one["phase"], str(one["severity"]), one["text"]]
            for one in said["alarms"]
        ]
        yield Section(say("record.alarms"), heads_of("time", "machine", "kind", "phase", "severity", "text"), rows)
    if said["links"]:
        rows = [[kind_of(kind), item] for kind, item in said["links"]]
        yield Section(say("record.links"), (), rows)


def _lab(one: dict[str, Any], zone: ZoneInfo) -> list[str]:
    item = f"{one['item_kind']} {one['item']}".strip()
    return [
        time_of(one["sampled"], zone), one["asset"] or "", one["name"], number(one["value"]), one["unit"], item,
        one["sample"], one["method"], one["author"],
    ]  # fmt: skip


def kind_of(name: str) -> str:
    """A kind of item in the language of this process."""
    return word(f"kind_{name}").removeprefix("kind_")


def heads_of(*names: str) -> list[str]:
    """Headings of columns."""
    return [say(f"column.{name}") for name in names]


def time_of(text: str, zone: ZoneInfo) -> str:
    """A time of the content, told in a zone."""
    return f"{datetime.fromisoformat(text).astimezone(zone):%Y-%m-%d %H:%M:%S}"


def limit_of(value: float | None) -> str:
    """A limit; nothing where there is none."""
    return "" if value is None else f"{value:g}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(_wide(row[place]) for row in rows) for place in range(len(rows[0]))] if rows else []
    return [
        "  ".join(cell + " " * (width - _wide(cell)) for cell, width in zip(row, widths, strict=True)) for row in rows
    ]


def _wide(text: str) -> int:
    """Columns of a terminal that a text takes; Hangul takes two each."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)
