"""How a column looks wherever it stands: its unit, and what its values mean, in words and colours.

Colours are told apart by people who do not tell red from green: blue, yellow, orange, dark red, grey.
"""

from collections.abc import Mapping
from typing import Final

from grafana_foundation_sdk.models.dashboard import DynamicConfigValue, ValueMap, ValueMappingResult

from rootdx.texts import catalogue, say_in

GOOD: Final = "blue"
WAITING: Final = "yellow"
WARNING: Final = "orange"
BAD: Final = "dark-red"
NOTHING: Final = "gray"

UNITS: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("column.seconds", "column.age_s", "column.planned_busy_s", "column.production_s", "column.setup_s",
         "column.delay_s", "column.down_s", "column.technical_s", "column.organisational_s", "column.blind_s",
         "grafana.column.elapsed", "grafana.column.typical"), "s"),
    **dict.fromkeys(
        ("column.oee", "column.availability", "column.effectiveness", "column.quality_ratio", "column.scrap_ratio",
         "column.setup_rate", "column.coverage", "grafana.column.health", "grafana.column.progress",
         "grafana.column.share", "grafana.column.good_share", "grafana.column.flood_share"), "percentunit"),
    **dict.fromkeys(("column.energy_kwh", "column.kwh_per_good"), "kwatth"),
    **dict.fromkeys(("column.demand_kw", "column.peak_kw"), "kwatt"),
    "grafana.column.bytes": "bytes",
}  # fmt: skip

VALUES: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "column.verdict": {
        "pass": ("verdict.pass", GOOD), "review": ("verdict.review", WAITING), "fail": ("verdict.fail", BAD),
        "incomplete": ("verdict.incomplete", WARNING), "unverified": ("verdict.unverified", NOTHING),
    },
    "grafana.column.state": {
        "ok": ("grafana.state.ok", GOOD), "off": ("grafana.state.off", NOTHING),
        "link_down": ("grafana.state.link_down", BAD), "sensor_bad": ("grafana.state.sensor_bad", WARNING),
    },
    "column.priority": {
        "high": ("grafana.priority.high", BAD), "medium": ("grafana.priority.medium", WARNING),
        "low": ("grafana.priority.low", WAITING),
    },
    "grafana.column.data_state": {
        "good": ("quality.good", GOOD), "uncertain": ("quality.uncertain", WARNING), "bad": ("quality.bad", BAD),
        "stale": ("grafana.data.stale", WAITING), "none": ("grafana.data.none", NOTHING),
    },
    "column.quality": {
        "0": ("quality.good", GOOD), "1": ("quality.uncertain", WARNING), "2": ("quality.bad", BAD),
    },
    "grafana.column.within": {"true": ("grafana.data.within", GOOD), "false": ("grafana.data.outside", BAD)},
    "column.undefined": {
        name: (f"reason.{name}", NOTHING) for name in (
            "ZERO_DENOM", "MISSING_INPUT", "LOW_COVERAGE", "OUT_OF_VALID_RANGE", "BAD_QUALITY", "NOT_REACHED")
    },
    "column.state": {
        name: (f"alarm.state.{name}", colour) for name, colour in (
            ("normal", GOOD), ("unacknowledged", BAD), ("acknowledged", WARNING), ("returned", WAITING),
            ("latched_unacknowledged", BAD), ("latched_acknowledged", WARNING), ("shelved", NOTHING),
            ("suppressed", NOTHING), ("out_of_service", NOTHING))
    },
    "grafana.column.event": {
        name: (f"alarm.event.{name}", NOTHING) for name in (
            "raised", "cleared", "told", "noted", "acknowledged", "reset", "shelved", "unshelved", "expired",
            "suppressed", "unsuppressed", "out_of_service", "in_service")
    },
}  # fmt: skip
SAME: Final[Mapping[str, str]] = {
    "grafana.column.last_verdict": "column.verdict",
    "grafana.column.before": "column.state",
    "grafana.column.after": "column.state",
}
"""Columns with the values of another."""
WORDS: Final[Mapping[str, str]] = {"column.phase": "phase", "column.kind": "kind", "grafana.column.running": "kind"}
"""Columns whose values have names in the catalogue, and in which group; others are shown as they are."""
SERIES: Final[Mapping[str, tuple[str, bool]]] = {
    "grafana.series.outside": (BAD, True),
    "grafana.series.doubtful": (WARNING, True),
    "grafana.series.flood": (BAD, False),
    "grafana.series.good": (NOTHING, False),
    "grafana.series.this": (GOOD, False),
    "column.low": (WARNING, False),
    "column.high": (WARNING, False),
}
"""Series with a colour of their own, and whether they are points."""
THIN: Final = ("grafana.series.low", "grafana.series.high", "grafana.series.good_low", "grafana.series.good_high")
"""Series around another."""
HIDDEN: Final = ("grafana.column.asset",)
"""Columns for links alone."""


def mapping(key: str, language: str) -> ValueMap | None:
    """What the values of a column mean; None where they speak for themselves."""
    if key in WORDS:
        return ValueMap(_words(WORDS[key], language))
    values = VALUES.get(SAME.get(key, key))
    if values is None:
        return None
    return ValueMap(
        {
            value: ValueMappingResult(text=say_in(language, text), color=colour, index=place)
            for place, (value, (text, colour)) in enumerate(values.items())
        }
    )


def _words(group: str, language: str) -> dict[str, ValueMappingResult]:
    names = [key.removeprefix(f"{group}.") for key in catalogue() if key.startswith(f"{group}.")]
    return {
        name: ValueMappingResult(text=say_in(language, f"{group}.{name}"), index=place)
        for place, name in enumerate(names)
    }


def of_column(key: str, language: str, kind: str) -> list[DynamicConfigValue]:
    """All that sets a column apart in a panel of this kind."""
    found: list[DynamicConfigValue] = []
    if key in UNITS:
        found.append(DynamicConfigValue("unit", UNITS[key]))
    meaning = mapping(key, language)
    if meaning is not None:
        found.append(DynamicConfigValue("mappings", [meaning]))
        if kind == "table" and key not in WORDS:
            found.append(DynamicConfigValue("custom.cellOptions", {"type": "color-background", "mode": "basic"}))
    if kind == "table" and key in ("grafana.column.progress", "grafana.column.health", "column.oee"):
        found += [
            DynamicConfigValue("custom.cellOptions", {"type": "gauge", "mode": "basic"}),
            DynamicConfigValue("min", 0),
            DynamicConfigValue("max", 1),
        ]
    return found + (_of_series(key) if kind in ("lines", "trend") else [])


def _of_series(key: str) -> list[DynamicConfigValue]:
    found: list[DynamicConfigValue] = []
    if key in SERIES:
        colour, points = SERIES[key]
        found.append(DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour}))
        if points:
            found.append(DynamicConfigValue("custom.drawStyle", "points"))
            found.append(DynamicConfigValue("custom.pointSize", 6))
    if key in THIN:
        found.append(DynamicConfigValue("custom.lineWidth", 1))
        found.append(DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [4, 4]}))
    return found
