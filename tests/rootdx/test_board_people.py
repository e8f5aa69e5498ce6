"""Tries of signing in are counted so that a guesser waits and nobody else does. No service."""

from rootdx.board import people
from rootdx.board.people import Tries


def failing(tries: Tries, name: str, address: str, times: int, now: float = 0.0) -> None:
    for _ in range(times):
        for key in tries.keys(name, address):
            tries.failed(key, now)


def wait_s(tries: Tries, name: str, address: str, now: float = 0.0) -> float:
    return max(tries.wait_s(key, now) for key in tries.keys(name, address))


def test_a_stranger_who_guesses_a_name_locks_out_strangers_alone() -> None:
    tries = Tries()
    tries.passed("kim", "10.0.0.5")
    failing(tries, "KIM", "10.0.0.66", 20)
    assert wait_s(tries, "kim", "10.0.0.66") > 0
    assert wait_s(tries, "kim", "10.0.0.77") > 0, "another address of the same guesser"
    assert wait_s(tries, "Kim", "10.0.0.5") == 0


def test_who_guesses_from_a_known_place_waits_there_too() -> None:
    tries = Tries()
    tries.passed("kim", "10.0.0.5")
    failing(tries, "kim", "10.0.0.5", 10)
    assert wait_s(tries, "kim", "10.0.0.5") == 30.0
    assert wait_s(tries, "kim", "10.0.0.5", now=30.0) == 0.0


def test_places_that_are_remembered_are_bounded() -> None:
    tries = Tries()
    for number in range(people.HOMES + 5):
        tries.passed("kim", f"address {number}")
    assert len(tries.at_home) == people.HOMES
    assert ("kim", "address 0") not in tries.at_home
    assert ("kim", f"address {people.HOMES}") in tries.at_home
