"""Worker processes: every item answered once, whoever dies; nobody is left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from helpers import ROOT

from mri_recon.errors import ScanError, SettingsError
from mri_recon.sharing import workers
from mri_recon.sharing.memory import can_watch, parse_size, peak_bytes, resident_bytes, size_text
from mri_recon.sharing.workers import Died, share_out, threads_each

HELD = []


def act(shared, item):
    """What a worker does in these tests."""
    if item == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if item == "crashes":
        os.kill(os.getpid(), signal.SIGSEGV)
    if item == "leaves":
        os._exit(3)
    if item == "raises":
        raise ScanError("a sentence")
    if item == "raises what cannot be sent":
        raise type("Own", (Exception,), {})("a sentence")
    if item == "grows":
        held = bytearray(os.urandom(1) * (300 << 20))
        time.sleep(60)
        return len(held)
    if item == "grows when it is done":
        (shared / "pid").write_text(str(os.getpid()))
        threading.Timer(0.3, lambda: HELD.append(bytearray(os.urandom(1) * (400 << 20)))).start()
    if item == "waits for that one's end":
        give_up = time.monotonic() + 10
        while not (shared / "pid").exists() or _runs(int((shared / "pid").read_text() or 0)):
            if time.monotonic() > give_up:
                return "it stays"
            time.sleep(0.02)
        return "it has ended"
    return f"{shared} {item} {os.environ.get('OMP_NUM_THREADS')}"


def test_every_item_is_answered_whoever_dies():
    items = ["a", "dies", "b", "crashes", "leaves", "c"]
    begun = []
    before = os.environ.get("OMP_NUM_THREADS")
    with threads_each(7):
        found = dict(share_out(act, items, "shared", 2, on_start=begun.append))
    assert os.environ.get("OMP_NUM_THREADS") == before
    assert {items[i]: found[i] for i in (0, 2, 5)} == {x: f"shared {x} 7" for x in "abc"}
    reasons = [found[i].reason for i in (1, 3, 4) if isinstance(found[i], Died)]
    assert reasons == [
        "was killed (SIGKILL), as a system short of memory does",
        "crashed (SIGSEGV), as libraries do on damaged files",
        "ended by itself with exit code 3",
    ]
    assert begun == list(range(6))


@pytest.mark.parametrize(
    ("item", "error"), [("raises", ScanError), ("raises what cannot be sent", RuntimeError)]
)
def test_what_a_worker_raises_is_raised_here(item, error):
    with pytest.raises(error, match="a sentence"):
        list(share_out(act, [item, "a"], None, 1))


def test_a_worker_that_grows_too_large_is_ended():
    if not can_watch():
        pytest.skip("this system does not tell how much memory a process has in use")
    limit = resident_bytes(os.getpid()) + (200 << 20)
    found = dict(share_out(act, ["grows", "a"], "shared", 1, most_bytes=limit))
    assert "was ended because the processes took" in found[0].reason
    assert f"more than the {size_text(limit)} allowed" in found[0].reason
    assert found[1].startswith("shared a")


def test_what_idle_workers_hold_is_counted_and_they_are_ended_first(tmp_path):
    if not can_watch():
        pytest.skip("this system does not tell how much memory a process has in use")
    limit = resident_bytes(os.getpid()) + (350 << 20)
    items = ["grows when it is done", "waits for that one's end"]
    found = dict(share_out(act, items, tmp_path, 2, most_bytes=limit))
    assert not isinstance(found[0], Died)
    assert found[1] == "it has ended"


INTERRUPTED = """
import os, signal, time
from mri_recon.sharing.workers import _Worker, _stop
class SlowToArrive:
    def __reduce__(self):
        return time.sleep, (1,)
if __name__ == "__main__":
    worker = _Worker(len, SlowToArrive())
    os.kill(worker.process.pid, signal.SIGINT)
    worker.process.join()
    print(worker.process.exitcode)
    _stop([worker])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals there are others")
def test_a_worker_that_is_being_started_ends_quietly_when_interrupted(tmp_path):
    """The very first, before which Python starts a process of its own."""
    out, messages = program(tmp_path, INTERRUPTED).communicate()
    assert (out.strip(), messages) == ("0", "")


UNGUARDED = """
import sys
from mri_recon.errors import SettingsError
from mri_recon.sharing.workers import share_out
try:
    print(list(share_out(len, ["a", "b"], None, 2)))
except SettingsError as error:
    print(error)
"""

LEAVES_ORPHANS = """
import os, signal, sys, time
from mri_recon.sharing.workers import share_out
def act(shared, item):
    try:
        print(os.getpid(), flush=True)
        time.sleep(60)
    finally:
        open(shared, "w").write("tidied up")
if __name__ == "__main__":
    list(share_out(act, ["a"], sys.argv[1], 1))
"""


def program(folder, source, *arguments):
    path = folder / "program.py"
    path.write_text(source)
    return subprocess.Popen(
        [sys.executable, str(path), *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def test_a_program_without_a_guard_is_told_so(tmp_path):
    out, _ = program(tmp_path, UNGUARDED).communicate()
    assert 'begin its work under `if __name__ == "__main__":`' in out


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_tidy_up_and_end_with_the_program(tmp_path, how):
    running = program(tmp_path, LEAVES_ORPHANS, tmp_path / "said")
    worker = int(running.stdout.readline())
    running.send_signal(how)
    running.communicate()
    give_up = time.monotonic() + 60
    while _runs(worker) and time.monotonic() < give_up:
        time.sleep(0.02)
    assert not _runs(worker)
    assert (tmp_path / "said").read_text() == "tidied up"


def _runs(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1]
    except FileNotFoundError:
        return False


def test_sizes():
    assert [parse_size(t) for t in ("1", "2K", "1.5g", "4 GiB", "3MB")] == [
        1, 2048, 3 << 29, 4 << 30, 3 << 20,
    ]  # fmt: skip
    for text in ("", "0", "4X", "-1G", "G", "1e3"):
        with pytest.raises(SettingsError, match="expected a size such as 4G"):
            parse_size(text)
    assert [size_text(n) for n in (5, 2048, 5 << 30, 3 << 40)] == ["5 B", "2 KiB", "5 GiB", "3 TiB"]
    assert [size_text(n) for n in (999, 1000, 999.7 * 1024)] == ["999 B", "0.977 KiB", "0.976 MiB"]
    assert peak_bytes() == 0 or peak_bytes() >= resident_bytes(os.getpid()) // 2 > 0


def test_a_signal_that_comes_when_all_is_over_is_no_traceback(monkeypatch):
    """The one that waits closes the connection and ends the worker by a signal: it can be on its way out already."""

    def interrupted():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    ours, theirs = multiprocessing.Pipe()
    ours.close()
    monkeypatch.setattr(workers, "_heed_no_more", interrupted)
    monkeypatch.setattr(workers.threading.Thread, "start", lambda thread: None)
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert workers._serve(theirs, lambda shared, item: item, None) is None
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
