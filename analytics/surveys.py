"""Temperature uniformity surveys and system accuracy tests as they are done: from the sheet to the entered check.

* The figures and the verdict come from F-HT-03 and F-HT-04; nobody types "passed".
* The check keeps everything that the verdict rests on: setpoint, tolerance, corrections, deviations, shortfalls.
* An incomplete survey has not passed.
"""

import csv
import io
import math
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
from pydantic import Field, FiniteFloat, PositiveFloat

from analytics.entries import CheckEntry, Name, Text, decoded
from analytics.formulas.pyrometry import SatLimit, sat_difference, sat_limit, sat_verdict, survey_record
from analytics.result import Floats, Result
from analytics.verdict import Verdict
from pipeline.errors import ConfigError
from pipeline.plant import Frozen

TIME: Final = ("time", "time_s", "ts", "시간")


class Sheet(Frozen):
    """What both have in common."""

    asset: Name
    subject: Name
    """The furnace, zone or instrument that is surveyed, as its `[[check]]` names it."""
    done: date
    months: Annotated[int, Field(ge=0)] = 0
    days: Annotated[int, Field(ge=0)] = 0
    document: Text = ""
    author: Name

    def entry(self, kind: str, verdict: Verdict, result: dict[str, Any]) -> CheckEntry:
        """The check that it makes."""
        return CheckEntry(
            author=self.author, asset=self.asset, kind=kind, subject=self.subject, done=self.done, months=self.months,
            days=self.days, passed=verdict is Verdict.PASS, result={"verdict": verdict.value} | result,
            document=self.document,
        )  # fmt: skip


class UniformitySheet(Sheet):
    """A temperature uniformity survey: its scans stand in a CSV file, a column a sensor."""

    setpoint_c: FiniteFloat
    tolerance_c: PositiveFloat
    correction_c: dict[str, FiniteFloat] = Field(default_factory=dict)
    """Of sensor and instrument together, by sensor; 0 for those not named."""

    def check(self, file: Path) -> CheckEntry:
        """The survey of a recording, approach included.

        Raises:
            ConfigError: names file, row, column and what was expected.
        """
        sensors, when, scans = read_scans(file)
        unknown = [name for name in self.correction_c if name not in sensors]
        if unknown:
            raise ConfigError(f"{file}: no column {unknown[0]!r} for its correction; there are {', '.join(sensors)}")
        corrections = [self.correction_c.get(name, 0.0) for name in sensors]
        record = survey_record(when, scans, self.setpoint_c, self.tolerance_c, corrections)
        survey = record.survey
        said = {
            "setpoint_c": self.setpoint_c,
            "tolerance_c": self.tolerance_c,
            "sensors": dict(zip(sensors, corrections, strict=True)),
            "scans": len(when),
            "stable_s": record.stable_s,
            "shortfalls": [fault.value for fault in record.shortfalls],
            "furnace_class": None if survey is None else survey.furnace_class,
            "duration_s": None if survey is None else survey.duration_s,
            "above": None if survey is None else _said(survey.above),
            "below": None if survey is None else _said(survey.below),
            "overshoot": None if survey is None else _said(survey.overshoot),
        }
        return self.entry("tus", record.verdict, said)


class AccuracySheet(Sheet):
    """A system accuracy test: the control's reading against a test instrument's."""

    control_c: FiniteFloat
    control_correction_c: FiniteFloat = 0.0
    """Manual corrections that are active in the control."""
    test_c: FiniteFloat
    test_sensor_correction_c: FiniteFloat = 0.0
    test_instrument_correction_c: FiniteFloat = 0.0
    limit_c: PositiveFloat
    limit_percent: Annotated[float, Field(ge=0)] = 0.0
    """Of the reading; the larger of both is the limit."""

    def check(self) -> CheckEntry:
        """The test."""
        difference = sat_difference(
            self.control_c,
            self.test_c,
            self.control_correction_c,
            self.test_sensor_correction_c,
            self.test_instrument_correction_c,
        ).one()
        limit = sat_limit(self.test_c, SatLimit(self.limit_c, self.limit_percent)).one()
        fields = self.model_dump(include=set(AccuracySheet.model_fields) - set(Sheet.model_fields))
        said = fields | {"difference": _said(difference), "limit": _said(limit)}
        return self.entry("sat", sat_verdict(difference, limit), said)


def _said(result: Result) -> dict[str, Any]:
    return {
        "value": result.value,
        "unit": result.unit,
        "reason": result.reason.name,
        "formula": result.formula_id,
        "version": result.formula_version,
        "inputs_hash": result.inputs_hash,
    }


def read_scans(file: Path) -> tuple[list[str], Floats, Floats]:
    """Sensors, times in s (n,) and readings in Cel (n, sensors), NaN where a cell is empty.

    The first column named time, time_s, ts or 시간 is the time: seconds, or a date and time.

    Raises:
        ConfigError: names file, row, column and what was expected.
    """
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    rows = list(csv.reader(io.StringIO(decoded(raw, file))))
    head = [name.strip() for name in rows[0]] if rows else []
    clock = next((place for place, name in enumerate(head) if name.lower() in TIME), None)
    if clock is None or len(head) < 2:
        raise ConfigError(f"{file}: expected a heading with one of {', '.join(TIME)} and a column a sensor")
    places = [place for place in range(len(head)) if place != clock and head[place]]
    when = np.array([_time(file, number, row[clock]) for number, row in enumerate(rows[1:], 2) if any(row)])
    scans = np.array(
        [
            [_reading(file, number, head[place], row[place] if place < len(row) else "") for place in places]
            for number, row in enumerate(rows[1:], 2)
            if any(row)
        ]
    ).reshape(len(when), len(places))
    if len(when) and np.any(np.diff(when) <= 0):
        number = int(np.argmax(np.diff(when) <= 0)) + 3
        raise ConfigError(f"{file}: row {number}: time does not rise; sort the scans")
    return [head[place] for place in places], when, scans


def _time(file: Path, number: int, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except ValueError as error:
        raise ConfigError(
            f"{file}: row {number}, time = {text!r}: expected seconds, or a time as 2026-11-22 08:00:00"
        ) from error


def _reading(file: Path, number: int, column: str, text: str) -> float:
    if not text.strip():
        return math.nan
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(f"{file}: row {number}, column {column} = {text!r}: expected a number of Cel") from error


def corrections_of(texts: Sequence[str]) -> dict[str, float]:
    """`sensor=number` each.

    Raises:
        ConfigError: says what was expected.
    """
    found = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            found[name.strip()] = float(number)
        except ValueError as error:
            raise ConfigError(f"correction {text!r}: expected sensor=number, as T1=-0.3") from error
    return found
