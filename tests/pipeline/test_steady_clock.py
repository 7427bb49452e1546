"""Time goes on, whatever is done to the machine's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ebbtide.pipeline.steady_clock import SteadyClock

START = datetime(2024, 6, 1, tzinfo=UTC)


class Machine:
    """A clock and what has really passed."""

    def __init__(self) -> None:
        self.wrong, self.passed = 0.0, 0.0

    def clock(self) -> datetime:
        return START + timedelta(seconds=self.passed + self.wrong)


def test_a_clock_that_is_set_back_goes_on_at_half_its_pace_until_it_has_caught_up() -> None:
    machine = Machine()
    steady = SteadyClock(machine.clock, passed=lambda: machine.passed)
    told = []
    for seconds, wrong in ((10, 0), (10, -100), (20, -100), (60, -100), (200, -100), (10, 0)):
        machine.passed += seconds
        machine.wrong = wrong
        told.append((steady() - START).total_seconds())
    assert told == [10, 15, 25, 55, 200, 310]  # at 300 - 100 the machine's clock has caught up


def test_a_process_that_starts_after_the_clock_was_set_back_goes_on_from_what_was_told_before() -> None:
    machine = Machine()
    steady = SteadyClock(machine.clock, least=START + timedelta(hours=1), passed=lambda: machine.passed)
    machine.passed = 10.0
    assert steady() == START + timedelta(hours=1, seconds=5)


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(-1e6, 1e6)), max_size=30))
def test_it_never_runs_back_never_stands_and_is_never_behind_the_machine(steps: list[tuple[float, float]]) -> None:
    machine = Machine()
    steady = SteadyClock(machine.clock, passed=lambda: machine.passed)
    last = steady()
    for seconds, wrong in steps:
        machine.passed += seconds
        machine.wrong = wrong
        now = steady()
        assert now >= last + timedelta(seconds=seconds / 2) - timedelta(microseconds=2)
        assert now >= machine.clock()
        last = now
