"""What calls leave behind is written whole, in order, once, also when the writer fails or is slow."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator, Sequence

import pytest

from ebbtide.cli.serving import JsonLines
from ebbtide.core.errors import RetryError
from ebbtide.serve import access_log, batches
from ebbtide.serve.access_log import AccessLog, words
from ebbtide.serve.batches import Batches
from ebbtide.serve.fuse import Fuse


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "FLUSH_SECONDS", 0.001)


def test_everything_from_every_thread_is_written_once_and_in_its_order() -> None:
    got: list[tuple[int, int]] = []
    kept = Batches[tuple[int, int]]("test", got.extend, fuse=Fuse())
    threads = [threading.Thread(target=lambda t=t: [kept.add((t, k)) for k in range(5_000)]) for t in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept.close()
    assert len(got) == 15_000
    for t in range(3):
        assert [k for thread, k in got if thread == t] == list(range(5_000))


def test_what_could_not_be_written_is_written_later_with_what_has_come_since(caplog: pytest.LogCaptureFixture) -> None:
    got: list[int] = []
    tried = threading.Event()

    def write(items: Sequence[int]) -> None:
        if not tried.is_set():
            tried.set()
            raise RetryError("away", "离线")
        got.extend(items)

    kept = Batches[int]("test", write, fuse=Fuse())
    kept.add(1)
    assert tried.wait(10)
    kept.add(2)
    kept.close()
    assert got == [1, 2]
    assert "the test could not be written yet" in caplog.text


def test_who_leaves_more_than_can_be_written_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_MOST", 3)
    go, most = threading.Event(), list[int]()

    def write(items: Sequence[int]) -> None:
        go.wait(10)
        most.append(len(items))

    kept = Batches[int]("test", write, fuse=Fuse())
    thread = threading.Thread(target=lambda: [kept.add(k) for k in range(50)])
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()
    go.set()
    thread.join(10)
    kept.close()
    assert (sum(most), max(most)) == (50, 3)


def test_a_defect_of_the_writer_blows_the_fuse() -> None:
    def write(items: Sequence[int]) -> None:
        raise ZeroDivisionError

    fuse = Fuse()
    kept = Batches[int]("test", write, fuse=fuse)
    kept.add(1)
    kept.close()
    assert (fuse.is_blown, fuse.where) == (True, "test")


def moments() -> Iterator[float]:
    yield from (1_795_824_000.0, 1_795_824_000.9996, 1_795_824_001.25, 1_795_824_001.5)


@pytest.mark.parametrize("trace", ["", "4bf92f3577b34da6a3ce929d0e0e4736"])
def test_a_line_is_what_logging_would_write(monkeypatch: pytest.MonkeyPatch, trace: str) -> None:
    told, out = list(moments()), io.BytesIO()
    lines, clock = AccessLog(out), iter(told)
    monkeypatch.setattr(access_log.time, "time", lambda: next(clock))
    calls = [
        ("GET", "/v1/users/{user_id}/risk", 200, 0.0000934), ("POST", "/v1/events", 503, 12.5),
        ("other", "unknown", 404, 0.0), ("GET", '/odd/"路\\', 500, 1e-9),
    ]  # fmt: skip
    for method, route, status, seconds in calls:
        lines.note(words(method, route, status), "req-1.A_", trace, seconds)
    monkeypatch.undo()
    lines.close()
    expected = []
    for at, (method, route, status, seconds) in zip(told, calls, strict=True):
        record = logging.LogRecord(
            "ebbtide.access", logging.INFO, "", 0, "%s %s %s", (method, route, status), exc_info=None
        )
        record.created, record.request_id, record.milliseconds = at, "req-1.A_", round(1000 * seconds, 2)
        if trace:
            record.trace_id = trace
        expected.append(JsonLines().format(record))
    got = out.getvalue().decode().splitlines()
    assert got == expected
    assert json.loads(got[0])["at"] == "2026-11-28T00:00:00.000+00:00"


def test_a_log_that_nobody_reads_any_more_stops_nothing() -> None:
    out, fuse = io.BytesIO(), Fuse()
    out.close()
    lines = AccessLog(out, fuse=fuse)
    lines.note(words("GET", "/", 200), "r", "", 0.1)
    lines.close()
    assert not fuse.is_blown
