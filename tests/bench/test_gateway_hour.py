"""What the figures of flash say: the formula by hand, and a folder that lies on no disk is told."""

from pathlib import Path

import pytest

from tests.bench.gateway_hour import Disk, Wear


def test_flash_lasts_as_long_as_it_can_be_written_over() -> None:
    wear = Wear(capacity_gb=16, cycles=3_000, lowest=2, highest=8)
    assert wear.years(bytes_a_day=16e9 * 3_000 / 365.25, amplification=1) == pytest.approx(1.0)
    assert wear.years(2e9, 8) == pytest.approx(wear.years(2e9, 2) / 4)


def test_folder_in_memory_says_nothing_of_a_disk() -> None:
    memory = Disk.of(Path("/dev/shm"))
    assert memory.kind == "tmpfs"
    assert memory.written() != memory.written()  # nan
    assert "NOTHING" in memory.told()


def test_bytes_of_a_device_only_grow(tmp_path: Path) -> None:
    disk = Disk.of(tmp_path)
    if disk.stat is not None:  # on an overlay there is no device to ask
        before = disk.written()
        (tmp_path / "x").write_bytes(b"x" * 100_000)
        assert disk.written() >= before > 0
