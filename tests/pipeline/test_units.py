"""Misspelt units are refused, the plant's units are not."""

import pytest
from hypothesis import given, strategies as st

from pipeline.units import is_unit

RIGHT = (
    "Cel K bar mbar MPa kPa Pa mm um m/s mm/s m/s2 L/min mL/s A kA V mV W kW kW.h kW.h/t J kJ "
    "uS/cm mS/cm [pH] % %{wt} 1 "
    "s ms min h Hz kHz /min g kg t N kN N.m [degF] [psi] A/dm2 g/L mg/L [ppm] cm3 {count} 10*3/mL dB mm[Hg] g.m-3"
).split()
WRONG = (
    "°C degC C° kwh KW.h mpa Mpa µS/cm uS\\cm sec mins celsius bar. .bar m//s m/ /  l/m/n rpm percent m² m^2".split()
)


@pytest.mark.parametrize("unit", RIGHT)
def test_units_of_the_plant_are_known(unit: str) -> None:
    assert is_unit(unit)


@pytest.mark.parametrize("unit", [*WRONG, "", " ", "k g", "Cel "])
def test_misspelt_unit_is_refused(unit: str) -> None:
    assert not is_unit(unit)


@given(st.text(max_size=12))
def test_any_text_has_an_answer(text: str) -> None:
    assert is_unit(text) in (True, False)
