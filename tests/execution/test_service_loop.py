from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution import service_loop
from execution.clock import ManualClock
from execution.core.guarded import Failed
from execution.log_lines import LineFormatter, one_line
from execution.service_loop import Faults, LoopTimes, Timer, loop, stopped_by_signals

ROOT = Path(__file__).resolve().parents[2]
NOW = 1_790_000_000.0


def run_beats(durations, interval_s, *, times=None):
    """Run beats that take `durations`; return when each began, in monotonic seconds."""
    clock = ManualClock(NOW)
    began = []
    left = iter(durations)

    def beat():
        began.append(clock.monotonic())
        clock.advance(next(left))

    loop(
        beat,
        interval_s=interval_s,
        clock=clock,
        stop=threading.Event(),
        faults=Faults(clock),
        max_loops=len(durations),
        times=times,
    )
    return began


# ---------------------------------------------------------------- intervals


def test_the_remainder_of_the_interval_is_slept():
    assert run_beats([0.25, 0.5, 0.0, 0.75], 1.0) == [0.0, 1.0, 2.0, 3.0]


def test_missed_beats_are_skipped_and_not_replayed():
    assert run_beats([3.5, 0.0, 0.0], 1.0) == [0.0, 4.0, 5.0]


def test_a_beat_as_long_as_the_interval_misses_none():
    assert run_beats([1.0, 1.0, 1.0], 1.0) == [0.0, 1.0, 2.0]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30), st.integers(1, 10))
def test_beats_lie_on_the_grid_and_none_begins_late(durations, interval_s):
    began = run_beats([float(each) for each in durations], float(interval_s))
    assert all(start % interval_s == 0 for start in began)
    for start, took, following in zip(began, durations, began[1:], strict=False):
        assert following >= start + max(took, interval_s)
        assert following - (start + took) < interval_s or following == start + interval_s


def test_uneven_seconds_do_not_double_a_beat():
    began = run_beats([0.0] * 200, 0.1)
    assert all(0.099 < b - a < 0.101 for a, b in pairwise(began))


def test_a_stop_in_mid_beat_ends_the_loop_after_it():
    clock, stop, done = ManualClock(NOW), threading.Event(), []

    def beat():
        stop.set()
        done.append("whole")

    assert loop(beat, interval_s=1.0, clock=clock, stop=stop, faults=Faults(clock)) == 1
    assert done == ["whole"]


# ---------------------------------------------------------------- failures


def test_a_beat_that_raises_is_counted_and_the_loop_goes_on():
    clock = ManualClock(NOW)
    faults = Faults(clock)

    def beat():
        raise ValueError("no\nmore")

    beats = loop(
        beat,
        interval_s=1.0,
        clock=clock,
        stop=threading.Event(),
        faults=faults,
        stage="sync_state",
        max_loops=3,
    )
    assert beats == 3
    assert faults.errors == {"sync_state": 3}
    assert faults.last_error == r"sync_state: ValueError: no\nmore"


def test_what_a_beat_returns_as_failed_is_counted_by_stage():
    clock = ManualClock(NOW)
    faults = Faults(clock)
    failures = (Failed("publish:nav", OSError("full")), Failed("shadow", KeyError("x")))
    loop(
        lambda: failures,
        interval_s=1.0,
        clock=clock,
        stop=threading.Event(),
        faults=faults,
        max_loops=2,
    )
    assert faults.errors == {"publish:nav": 2, "shadow": 2}
    assert faults.last_error == "shadow: KeyError: 'x'"


def test_each_kind_is_logged_with_its_traceback_once_a_minute(caplog):
    clock = ManualClock(NOW)
    faults = Faults(clock)

    def fail(error):
        try:
            raise error
        except (ValueError, OSError) as caught:
            faults.note(Failed("tick", caught))

    for _ in range(119):  # two minutes without their last second
        fail(ValueError("first kind"))
        clock.advance(1.0)
    fail(OSError("second kind"))
    said = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in said] == [
        "failed stage=tick unsaid=0 error=ValueError: first kind",
        "failed stage=tick unsaid=59 error=ValueError: first kind",
        "failed stage=tick unsaid=0 error=OSError: second kind",
    ]
    assert all(record.exc_info and record.exc_info[2] is not None for record in said)
    assert faults.errors == {"tick": 120}


def test_what_is_expected_to_go_wrong_has_no_traceback(caplog):
    faults = Faults(ManualClock(NOW))
    faults.report("nav_journal", "broken", "2 lines")
    assert [record.exc_info for record in caplog.records] == [None]
    assert faults.errors == {"nav_journal": 1}


def test_an_error_that_cannot_say_itself_is_named_by_its_kind():
    class MuteError(ValueError):
        def __str__(self):
            raise ValueError("no words")

    faults = Faults(ManualClock(NOW))
    faults.note(Failed("strategy", MuteError()))
    assert faults.last_error == "strategy: MuteError"


# ---------------------------------------------------------------- figures


def test_loop_times_before_and_after_the_first_loop():
    times = LoopTimes()
    none = times.figures()
    assert (none.last, none.p50, none.p99) == (None, None, None)
    run_beats([0.01 * n for n in range(1, 101)], 2.0, times=times)
    found = times.figures()
    assert found.last == pytest.approx(1000.0)
    assert found.p50 == pytest.approx(500.0)
    assert found.p99 == pytest.approx(990.0)


def test_loop_times_forget_what_is_long_ago():
    times = LoopTimes()
    for _ in range(5):
        times.add(9.0)
    for _ in range(service_loop.WINDOW_LOOPS):
        times.add(0.002)
    assert times.figures().p99 == pytest.approx(2.0)


def test_rss_is_what_the_kernel_says():
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("no /proc on this machine")
    line = next(row for row in status.read_text().splitlines() if row.startswith("VmRSS"))
    assert service_loop.rss_mb() == pytest.approx(int(line.split()[1]) / 1024, rel=0.1)


def test_without_proc_rss_is_the_peak(tmp_path):
    assert service_loop.rss_mb(tmp_path / "statm") > 5
    (tmp_path / "statm").write_text("garbage")
    assert service_loop.rss_mb(tmp_path / "statm") > 5


# ---------------------------------------------------------------- timers


def test_a_timer_is_due_at_once_and_then_after_its_interval():
    clock = ManualClock(NOW)
    timer = Timer(10.0, clock)
    assert timer.is_due()
    timer.done()
    clock.advance(9.9)
    assert not timer.is_due()
    clock.advance(0.1)
    assert timer.is_due()
    clock.set(NOW - 3600)  # the wall clock is set back
    assert timer.is_due()


@given(st.integers(1, 600), st.data())
def test_a_timer_on_beats_never_waits_longer_than_its_interval(interval_s, data):
    beat_s = data.draw(st.integers(1, interval_s))
    clock = ManualClock(NOW)
    timer = service_loop.timer_on_beats(interval_s, beat_s, clock)
    fired = []
    for _ in range(5 * (interval_s // beat_s) + 1):
        if timer.is_due():
            fired.append(clock.monotonic())
            timer.done()
        clock.advance(beat_s)
    gaps = [after - before for before, after in pairwise(fired)]
    assert gaps == [interval_s // beat_s * beat_s] * 5


def test_beats_that_come_a_little_early_or_late_do_not_move_a_timer():
    clock = ManualClock(NOW)
    timer = service_loop.timer_on_beats(600.0, 30.0, clock)
    fired = []
    for beat in range(61):
        clock.set(NOW + 30 * beat + (2.0 if beat % 20 == 0 and beat < 40 else 0.0))
        if timer.is_due():
            fired.append(beat)
            timer.done()
    assert fired == [0, 20, 40, 60]


# ---------------------------------------------------------------- signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_only_asks_to_stop_and_is_given_back(number):
    before = signal.getsignal(number)
    with stopped_by_signals() as stop:
        assert not stop.is_set()
        signal.raise_signal(number)
        assert stop.wait(10.0)
    assert signal.getsignal(number) is before


def test_a_signal_in_the_middle_of_a_wait_does_not_lock_it_up():
    with stopped_by_signals() as stop:
        with stop._cond:  # where Event.wait is for a moment; a handler that set it would hang
            signal.raise_signal(signal.SIGTERM)
        assert stop.wait(10.0)


def test_sigterm_lets_the_beat_end_and_wakes_the_wait():
    program = """
import threading, time
from execution.clock import SystemClock
from execution.service_loop import Faults, loop, stopped_by_signals

def beat():
    print("begin", flush=True)
    time.sleep(0.5)
    print("end", flush=True)

clock = SystemClock()
with stopped_by_signals() as stop:
    print(loop(beat, interval_s=3600.0, clock=clock, stop=stop, faults=Faults(clock)))
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begin\n"
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
        assert process.wait(10) == 0
    assert rest == "end\n1\n"
    assert time.monotonic() - started < 10


# ---------------------------------------------------------------- a process


def start(body, environ):
    program = f"""
import sys
from execution import service_loop
from execution.errors import ConfigError, LockHeld

def body(settings, clock, stop):
    {body}

sys.exit(service_loop.start("sync_state", body))
"""
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]} | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def environ(tmp_path):
    return {"HEDGE_LOG_DIR": str(tmp_path / "logs"), "HEDGE_ENV_FILE": str(tmp_path / ".env")}


def test_a_start_logs_version_mode_and_the_six_flags(environ):
    ended = start("pass", environ | {"INTEL_V6_ENABLED": "1"})
    assert ended.returncode == 0
    version = (ROOT / "VERSION").read_text().strip()
    assert f"INFO sync_state start engine_version='{version}' mode=paper" in ended.stderr
    assert "INTEL_V6_ENABLED=on RISK_ENGINE_V6_ENABLED=off" in ended.stderr
    assert ended.stderr.count("_ENABLED=") == 6
    assert ended.stderr[:2] == "20"
    assert ended.stderr.split()[0].endswith("Z")


@pytest.mark.parametrize(
    ("body", "code", "line"),
    [
        ("raise ConfigError('risk.toml: a: b\\nc: d')", 78, "sync_state: risk.toml: a: b; c: d"),
        ("raise LockHeld('sync.lock: held by x')", 75, "sync_state: sync.lock: held by x"),
    ],
)
def test_what_a_person_must_mend_is_one_line(environ, body, code, line):
    ended = start(body, environ)
    assert ended.returncode == code
    assert ended.stderr.splitlines()[1:] == [line]
    assert ended.stdout == ""


def test_a_misspelled_flag_is_exit_78(environ):
    ended = start("pass", environ | {"INTEL_V6_ENABLED": "maybe"})
    assert ended.returncode == 78
    assert len(ended.stderr.splitlines()) == 1
    assert "INTEL_V6_ENABLED" in ended.stderr


def test_an_unwritable_log_folder_is_exit_78(environ, tmp_path):
    (tmp_path / "file").write_text("")
    folder = str(tmp_path / "file" / "logs")
    ended = start("pass", environ | {"HEDGE_LOG_DIR": folder})
    assert ended.returncode == 78
    assert len(ended.stderr.splitlines()) == 1
    assert folder in ended.stderr


# ---------------------------------------------------------------- its log


def test_a_log_line_stays_one_line_in_utc():
    record = logging.LogRecord("a", logging.INFO, "", 0, "x=%s", ("\n2026 \x1b[2Jforged",), None)
    record.created = NOW + 0.25
    line = LineFormatter().format(record)
    assert line == r"2026-09-21T14:13:20.250Z INFO a x=\n2026 \x1b[2Jforged"


def logged(error: Exception) -> list[str]:
    """Return what a process writes of an error that a stage ended with."""
    record = logging.LogRecord("a", logging.ERROR, "", 0, "failed", (), None)
    try:
        raise error
    except type(error):
        record.exc_info = sys.exc_info()
    return LineFormatter().format(record).split("\n")


@given(st.text() | st.just("x\n2026-09-21T14:13:20.250Z INFO a forged\x1b[2J\u202e"))
def test_the_text_of_an_error_passes_for_no_record(text):
    first, *traceback = logged(ValueError(text))
    assert first.endswith(" ERROR a failed")
    assert traceback[0] == "    Traceback (most recent call last):"
    for line in traceback:
        assert line.startswith("    ")
        assert line.isprintable()


def test_a_line_has_an_end_however_long_its_text():
    record = logging.LogRecord("a", logging.INFO, "", 0, "x=%s", ("x" * 1_000_000,), None)
    assert len(LineFormatter().format(record)) == 4_000
    assert max(map(len, logged(ValueError("x" * 1_000_000)))) == 4_000


def test_a_refusal_is_one_line_whatever_it_quotes(environ):
    ended = start(r"raise ConfigError('\x1b[2Ja\r\u202eb')", environ)
    assert ended.stderr.splitlines()[1:] == [r"sync_state: \x1b[2Ja; \u202eb"]


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_one_line_is_one_printable_line(text):
    shown = one_line(text)
    assert shown.isprintable()
    assert len(shown) <= 300
