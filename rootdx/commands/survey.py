"""`rootdx enter tus` and `sat`: surveys from what was read; the verdict is computed."""

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from analytics.surveys import AccuracySheet, UniformitySheet, corrections_of
from pipeline.errors import ConfigError
from pipeline.faults import explain
from rootdx import entering
from rootdx.invocation import run, site_of
from rootdx.program import Config
from rootdx.texts import say

Machine = Annotated[str, typer.Option("--machine", help="Furnace: its path, or the end of it.")]
Subject = Annotated[str, typer.Option(help="Furnace, zone or instrument, as its [[check]] names it.")]
Done = Annotated[str, typer.Option(help="Day; today, yesterday.")]
Months = Annotated[int, typer.Option(help="For how many months it holds.")]
Days = Annotated[int, typer.Option(help="Or for how many days.")]
Document = Annotated[str, typer.Option(help="Certificate or report.")]
Author = Annotated[str, typer.Option(help="Who says so.")]
Cel = Annotated[float, typer.Option(help="Cel.")]


def tus(
    config: Config = None,
    *,
    machine: Machine,
    subject: Subject,
    csv: Annotated[Path, typer.Option("--csv", help="Scans, approach included: a time and a column a sensor, Cel.")],
    setpoint: Cel,
    tolerance: Cel,
    correction: Annotated[
        list[str] | None, typer.Option(help="sensor=Cel, of sensor and instrument together; as often as needed.")
    ] = None,
    done: Done = "today",
    months: Months = 0,
    days: Days = 0,
    document: Document = "",
    author: Author,
) -> None:
    """A temperature uniformity survey (F-HT-03): judges the scans and enters the check."""
    given = {"setpoint_c": setpoint, "tolerance_c": tolerance, "correction_c": corrections_of(correction or [])}
    sheet = {"subject": subject, "months": months, "days": days, "document": document, "author": author}
    _enter(UniformitySheet, config, machine, done, sheet | given, csv)


def sat(
    config: Config = None,
    *,
    machine: Machine,
    subject: Subject,
    control: Annotated[float, typer.Option(help="Reading of the control, Cel.")],
    control_correction: Annotated[float, typer.Option(help="Manual correction that is active in it, K.")] = 0.0,
    test: Annotated[float, typer.Option(help="Reading of the test instrument, Cel.")],
    sensor_correction: Annotated[float, typer.Option(help="Of the test sensor, K.")] = 0.0,
    instrument_correction: Annotated[float, typer.Option(help="Of the test instrument, K.")] = 0.0,
    limit: Annotated[float, typer.Option(help="Largest difference, K.")],
    limit_percent: Annotated[float, typer.Option(help="Or of the reading, %; the larger counts.")] = 0.0,
    done: Done = "today",
    months: Months = 0,
    days: Days = 0,
    document: Document = "",
    author: Author,
) -> None:
    """A system accuracy test (F-HT-04): judges the difference and enters the check."""
    given = {
        "control_c": control, "control_correction_c": control_correction, "test_c": test,
        "test_sensor_correction_c": sensor_correction, "test_instrument_correction_c": instrument_correction,
        "limit_c": limit, "limit_percent": limit_percent,
    }  # fmt: skip
    sheet = {"subject": subject, "months": months, "days": days, "document": document, "author": author}
    _enter(AccuracySheet, config, machine, done, sheet | given, None)


def _enter(
    model: type[UniformitySheet | AccuracySheet],
    config: Path | None,
    machine: str,
    done: str,
    given: dict[str, Any],
    csv: Path | None,
) -> None:
    site = site_of(config)
    try:
        sheet = model.model_validate({"asset": machine, "done": site.clock.day(done, "--done"), **given})
        check = sheet.check(csv) if isinstance(sheet, UniformitySheet) and csv is not None else None
        check = sheet.check() if isinstance(sheet, AccuracySheet) else check
    except ValidationError as error:
        raise ConfigError(explain(error, "enter")) from error
    if check is not None:
        run(entering.entered(site, [check]))
        typer.echo(say("enter.survey", verdict=say(f"verdict.{check.result['verdict']}"), subject=check.subject))
