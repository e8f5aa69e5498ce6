"""The processes measure recordings of real machines, one row a cycle, and leave out what no row tells."""

import pytest

from tests.bench.real_data_shaping import INJECTION, PRESS, RHEOCASTING, Recording, findings, folder


@pytest.mark.parametrize("recording", [RHEOCASTING, INJECTION, PRESS], ids=lambda one: one.name)
def test_rows_become_features(recording: Recording) -> None:
    if not (folder() / recording.name).is_dir():
        pytest.skip(f"{folder() / recording.name}: not there; set ROOTDX_DATA to the folder of the recordings")
    found = {line.feature: line for line in findings(recording, 300)}
    reported = {"kamp_rheocasting": "v_fast", "kamp_injection": "reported_fill_time", "kamp_press": "reported_peak"}
    line = found[reported[recording.name]]
    assert line.ok == line.n >= 300
    assert line.median > 0.0
    assert "gate_velocity" not in found
    assert "cav_p1_peak" not in found
