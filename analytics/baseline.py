"""The file that `learn` writes and detectors read: what is normal, and of what it is.

* JSON, a line a key; one file a detector of a machine. What was learned cannot be told from the rows later, so the file
  says from what, when, how many, and what was left out and why.
* A file that was changed by hand or cut short is refused: `digest` is of all the rest.
* Numbers are exact: what is read is what was learned, bit by bit; NaN is `null`.
"""

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
from pydantic import AwareDatetime, Field, NonNegativeInt, ValidationError

from analytics.data_quality import MAD_TO_SIGMA
from analytics.detector import Arrays, Detector, by_group
from analytics.result import Bools, Floats, silent
from analytics.rolling import middle
from analytics.table import Table
from pipeline.errors import ConfigError
from pipeline.faults import explain
from pipeline.plant import Frozen

FORMAT: Final = 1
"""Of the file; another number is refused."""


class _Group(Frozen):
    """A context: how many rows, and what was learned of them."""

    rows: NonNegativeInt
    arrays: dict[str, Any]


class _File(Frozen):
    """The file, key by key."""

    format: Annotated[int, Field(ge=FORMAT, le=FORMAT)]
    """Version of the file's layout."""
    detector: str
    """Kind of detector it is for."""
    detector_version: str
    """Of that detector."""
    settings: dict[str, Any]
    """The detector's settings when it learned."""
    asset: str
    """Machine, or empty for a baseline from a file."""
    on: str
    """Cycle kind, or tags."""
    variables: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names of the columns, in order."""
    by: tuple[str, ...]
    """Kinds of context that are apart."""
    source: str
    """Where the rows came from: `store`, or a file's name."""
    since: AwareDatetime
    """First moment of the range."""
    until: AwareDatetime
    """The moment after the last."""
    rows: NonNegativeInt
    """Rows learned from."""
    excluded: dict[str, NonNegativeInt]
    """Rows left out, by reason."""
    learned_at: AwareDatetime
    """When."""
    groups: dict[str, _Group]
    """What was learned, by context."""
    digest: str
    """SHA-256 of all the rest."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a baseline is of.

    Attributes:
        asset: machine; empty for a file.
        on: cycle kind, or `tags`.
        by: kinds of context that are apart.
        source: `store`, or a file's name.
        since: first moment of the range, ISO with zone.
        until: the moment after the last, likewise.
        learned_at: when, likewise.
        excluded: rows left out, by reason: warm_up, trial, aborted, gap, recipe_changed, missing, outlier.
    """

    asset: str
    on: str
    by: tuple[str, ...]
    source: str
    since: str
    until: str
    learned_at: str
    excluded: Mapping[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """What was learned, by group, and of what.

    Attributes:
        detector: kind of detector.
        detector_version: of it.
        settings: of the detector.
        variables: names of the columns, in the order of the arrays.
        origin: of what.
        rows: learned from, by group.
        groups: arrays by group.
        digest: of the file; empty before it is written.
    """

    detector: str
    detector_version: str
    settings: Mapping[str, Any]
    variables: tuple[str, ...]
    origin: Origin
    rows: Mapping[str, int]
    groups: Mapping[str, Arrays]
    digest: str = ""

    def fits(self, detector: Detector, variables: tuple[str, ...] | None, where: str) -> None:
        """Checks that it is for a detector, and for these columns.

        Raises:
            ConfigError: names the file, what it is of, what is wanted, and what to do.
        """
        again = "learn again with rootdx learn"
        wanted = (detector.kind, detector.detector_version)
        if (self.detector, self.detector_version) != wanted:
            raise ConfigError(
                f"{where}: learned by {self.detector} version {self.detector_version}, wanted by {wanted[0]} version "
                f"{wanted[1]}; {again}"
            )
        if variables is not None and self.variables != variables:
            raise ConfigError(f"{where}: variables = {_named(self.variables)}, wanted {_named(variables)}; {again}")

    def arranged(self, table: Table, where: str) -> Table:
        """The columns of a table that it is of, in its order.

        Raises:
            ConfigError: the table lacks one; names it.
        """
        missing = [name for name in self.variables if name not in table.names]
        if missing:
            raise ConfigError(f"{where}: learned of {_named(missing)}, which the rows do not have; learn again")
        return table if table.names == self.variables else table.select(self.variables)


def learned(detector: Detector, table: Table, origin: Origin) -> Baseline:
    """A baseline of a table's normal rows; groups with too few of them are not in it."""
    groups = detector.learn(table)
    counts = {
        name: int(np.sum(table.normal[table.of_group(number)]))
        for number, name in enumerate(table.groups)
        if name in groups
    }
    return Baseline(
        detector=detector.kind,
        detector_version=detector.detector_version,
        settings=detector.model_dump(mode="json", exclude={"kind"}),
        variables=table.names,
        origin=origin,
        rows=counts,
        groups=groups,
    )


def outlying(table: Table, width: float) -> Bools:
    """(n,) normal rows with a variable further than `width` robust sigma from the median of its context.

    A sigma is the larger of 1.4826 median and of the mean absolute deviation: a variable that is mostly still and
    moves now and then is not an outlier each time.

    >>> outlying(Table.of([*range(20), 500.0]), 10.0)[-2:].tolist()
    [False, True]
    """
    far = np.zeros(len(table), dtype=np.bool_)
    for _, rows in by_group(table):
        x = np.where(table.normal[rows][:, None], table.value[rows], np.nan)
        away = np.abs(x - middle(x.T))
        good = np.isfinite(away)
        with silent():
            mean = np.sum(np.where(good, away, 0.0), axis=0) / np.sum(good, axis=0)
            sigma = np.fmax(MAD_TO_SIGMA * middle(away.T), mean)
            far[rows] = (away > width * sigma).any(axis=1)
    return far


def write_baseline(baseline: Baseline, file: Path) -> Baseline:
    """Writes a baseline in place of what was there, all or nothing; returns it with its digest.

    Raises:
        ConfigError: the folder cannot be written.
    """
    origin = baseline.origin
    content = {
        "format": FORMAT,
        "detector": baseline.detector,
        "detector_version": baseline.detector_version,
        "settings": dict(baseline.settings),
        "asset": origin.asset,
        "on": origin.on,
        "variables": list(baseline.variables),
        "by": list(origin.by),
        "source": origin.source,
        "since": origin.since,
        "until": origin.until,
        "rows": sum(baseline.rows.values()),
        "excluded": dict(sorted(origin.excluded.items())),
        "learned_at": origin.learned_at,
        "groups": {
            name: {"rows": baseline.rows[name], "arrays": {key: _told(one) for key, one in sorted(arrays.items())}}
            for name, arrays in sorted(baseline.groups.items())
        },
    }
    content["digest"] = _digest(content)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, suffix=".part", delete=False, encoding="utf-8") as part:
            lines = [f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in content.items()]
            part.write("{\n" + ",\n".join(lines) + "\n}\n")
        Path(part.name).chmod(0o644)
        Path(part.name).replace(file)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}; name another with baseline = ...") from error
    return replace(baseline, digest=str(content["digest"]))


def read_baseline(file: Path) -> Baseline:
    """A baseline from its file.

    Raises:
        ConfigError: names file, key, what is wrong and what to do.
    """
    remedy = "learn again with rootdx learn"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{file}: there is no such baseline; make it with rootdx learn") from None
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(f"{file}: not a baseline: {error}; {remedy}") from error
    try:
        found = _File.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{explain(error, str(file))}; {remedy}") from error
    rest = {key: value for key, value in content.items() if key != "digest"}
    if found.digest != _digest(rest):
        raise ConfigError(f"{file}: digest: the file is not as it was written; {remedy}")
    groups = {}
    for name, group in found.groups.items():
        where = f"{file}: groups.{name or '(all)'}.arrays"
        groups[name] = {key: _array(value, f"{where}.{key}") for key, value in group.arrays.items()}
    origin = Origin(
        found.asset, found.on, found.by, found.source, str(content["since"]), str(content["until"]),
        str(content["learned_at"]), found.excluded,
    )  # fmt: skip
    return Baseline(
        found.detector, found.detector_version, found.settings, found.variables, origin,
        {name: group.rows for name, group in found.groups.items()}, groups, found.digest,
    )  # fmt: skip


def _told(array: Floats) -> Any:
    numbers = np.asarray(array, dtype=np.float64)
    if np.isinf(numbers).any():
        raise ValueError("a baseline holds no infinite number")
    told = numbers.astype(object)
    told[np.isnan(numbers)] = None
    return told.tolist()


def _array(value: Any, where: str) -> Floats:
    try:
        array: Floats = np.array(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: not an array of numbers; learn again with rootdx learn") from error
    array.flags.writeable = False
    return array


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _named(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(names)
