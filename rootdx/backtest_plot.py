"""The picture of a backtest: scores over time, a strip a setting, what was wrong shaded, every ring marked."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.errors import ConfigError
from rootdx.backtesting import Against, Trial

mpl.use("Agg")
MOST: int = 4000
"""Points of a line; of more rows each stretch shows its highest score."""


def draw(trials: Sequence[Trial], against: Against, zone: ZoneInfo, file: Path) -> None:
    """Writes the picture; the ending of the file says how (.png, .svg, .pdf).

    Raises:
        ConfigError: it cannot be written, or nobody knows the ending.
    """
    figure = Figure(figsize=(11, 2.6 * len(trials) + 0.6), layout="constrained")
    axes = figure.subplots(len(trials), 1, sharex=True, squeeze=False)[:, 0]
    for place, (one, trial) in enumerate(zip(axes, trials, strict=True)):
        _strip(one, trial, against, zone, f"C{place}")
    try:
        figure.savefig(file, dpi=130)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--plot {file}: cannot be written: {error}") from error


def _strip(axes: Axes, trial: Trial, against: Against, zone: ZoneInfo, colour: str) -> None:
    for label in against.labels or ():
        axes.axvspan(_time(label.start_ns, zone), _time(label.end_ns, zone), color="0.85", lw=0)  # type: ignore[arg-type]
    score = trial.outcome.scores.score
    top = np.where(np.isnan(score), -np.inf, score).max(axis=1) if score.shape[1] else np.zeros(len(score))
    ts_ns, highest = _thinned(trial.table.ts_ns, np.where(np.isfinite(top), top, np.nan))
    axes.plot([_time(one, zone) for one in ts_ns.tolist()], highest, lw=0.8, color=colour)  # type: ignore[arg-type]
    axes.axhline(1.0, color="0.3", lw=0.8, ls="--")
    rung = trial.outcome.episodes
    axes.plot([_time(one.raised_ns, zone) for one in rung], [max(one.peak, 1.0) for one in rung], "v", color="C3", ms=5)  # type: ignore[arg-type]
    axes.set_yscale("symlog", linthresh=2.0)
    axes.set_ylim(bottom=0)
    axes.set_title(f"{trial.watching.name} · {trial.watching.detector.kind} · n = {len(rung)}", loc="left", fontsize=10)
    axes.set_ylabel("score")


def _thinned(
    ts_ns: "np.ndarray[tuple[int], np.dtype[np.int64]]", score: "np.ndarray[tuple[int], np.dtype[np.float64]]"
) -> "tuple[np.ndarray[tuple[int], np.dtype[np.int64]], np.ndarray[tuple[int], np.dtype[np.float64]]]":
    width = -(-len(score) // MOST)
    if width <= 1:
        return ts_ns, score
    firsts = np.arange(0, len(score), width)
    return ts_ns[firsts], np.fmax.reduceat(score, firsts)


def _time(ts_ns: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(ts_ns / 1e9, UTC).astimezone(zone).replace(tzinfo=None)
