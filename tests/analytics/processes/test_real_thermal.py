"""Welding and plating on recordings from real plants, where they are."""

from functools import cache

import pytest

from analytics.processes.welding import ArcSeam
from analytics.window import SECOND_NS
from tests.bench.real_data_thermal import Line, batches, folder, lots, weld_runs, welds
from tests.support.scored import assert_local


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        not (folder() / name).is_dir(), reason=f"no {folder() / name}: set ROOTDX_DATA to the folder of the recordings"
    )


@cache
def lines(which: str) -> dict[str, Line]:
    found = {"welds": welds, "lots": lots, "batches": batches}[which]()
    return {line.what: line for line in found}


@needs("weld_gmaw_runs")
def test_every_run_is_one_seam_of_plausible_arc() -> None:
    found = lines("welds")
    assert (found["seams a run"].n, found["seams a run"].low, found["seams a run"].high) == (6, 1.0, 1.0)
    assert 26.0 < found["arc_time"].low <= found["arc_time"].high < 28.0
    assert 24.0 < found["voltage_mean"].median < 26.0
    assert 170.0 < found["current_mean"].median < 185.0
    assert "arc_energy" not in found


@needs("weld_gmaw_runs")
def test_real_seams_are_the_same_under_any_cut() -> None:
    process = ArcSeam(bundle_s=0.11, off_s=0.25)
    for window in weld_runs():
        (whole,) = process.cycles(window)
        after = process.cycles(window.cut(whole.start_ns + 5 * SECOND_NS, window.end_ns))
        assert after == ()
        assert assert_local(process, window, cuts=10) >= 0


@needs("kamp_plating_bath")
def test_every_lot_is_a_carrier_with_its_charge() -> None:
    found = lines("lots")
    assert (found["lots a day"].n, found["lots a day"].low, found["lots a day"].high) == (17, 22.0, 22.0)
    assert found["plate_time"].n == 17 * 22
    assert found["plate_time"].median == pytest.approx(342.0, abs=1.0)
    amperes, hours = found["current_mean"].median, found["plate_time"].median / 3600
    assert found["charge"].median == pytest.approx(amperes * hours, rel=0.02)


@needs("kamp_heat_treatment")
def test_batches_have_means_only() -> None:
    found = lines("batches")
    assert found["zone_spread"].n == 108
    assert found["zone_spread"].high < 10.0
    assert found["cycles and phases"].n == 0
