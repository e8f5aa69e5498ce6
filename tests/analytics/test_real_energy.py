"""A real year of quarter hours, where it is."""

import pytest

from tests.bench.real_data_energy import NAME, report
from tests.bench.real_data_thermal import folder


@pytest.mark.skipif(
    not (folder() / NAME).is_dir(), reason=f"no {folder() / NAME}: set ROOTDX_DATA to the folder of the recordings"
)
def test_demands_of_a_year_add_up_to_its_energy() -> None:
    found = {line.what: line for line in report()}
    demand, energy = found["demand kW"], found["energy MWh, file = demands"]
    assert demand.n == 365 * 96
    assert energy.high == pytest.approx(energy.low, rel=1e-9)
    assert found["month peak kW"].n == 12
    assert found["month peak kW"].high == demand.high
    assert found["billing demand kW, December"].high >= found["month peak kW"].low
    assert 0.0 < found["power factor"].low <= found["power factor"].high <= 1.0
