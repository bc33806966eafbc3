"""Items shared out among worker processes, of which each may die without taking more than its item along.

The processes are spawned, as Windows and macOS demand: they import the program that starts them, which must begin its
work under ``if __name__ == "__main__"``.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Any, TypeVar

from mri_recon.errors import SettingsError
from mri_recon.sharing.memory import resident_bytes, size_text

Item = TypeVar("Item")
Shared = TypeVar("Shared")
Result = TypeVar("Result")

_READY = "ready"
_LAST_BREATH = 10.0
"""Seconds that a worker has to tidy up before it is killed."""

_LOOK_EVERY = 0.05
"""Seconds between looks at how much memory is taken."""


@dataclass(frozen=True)
class Died:
    """What came of an item over which its worker came to an end: why, to follow 'its worker process'."""

    reason: str


@dataclass(frozen=True)
class _Raised:
    """An exception on its way to the process that handed the item out."""

    error: BaseException


class _Worker:
    """A process that does one item after another."""

    def __init__(self, function: Callable[[Any, Any], Any], shared: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, function, shared), daemon=True)
        with _without_interrupts():
            self.process.start()
        theirs.close()
        self.ended: str | None = None

    def end(self, reason: str) -> None:
        """Kill it, and say why."""
        self.ended = reason
        self.process.kill()

    def why_it_died(self) -> str:
        """Why it came to an end."""
        self.process.join()
        code = self.process.exitcode or 0
        if self.ended:
            return self.ended
        if code >= 0:
            return f"ended by itself with exit code {code}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        if name == "SIGKILL":
            return "was killed (SIGKILL), as a system short of memory does"
        return f"crashed ({name}), as libraries do on damaged files"


def share_out(
    function: Callable[[Shared, Item], Result],
    items: Sequence[Item],
    shared: Shared,
    workers: int,
    *,
    most_bytes: int | None = None,
    on_start: Callable[[int], None] | None = None,
) -> Iterator[tuple[int, Result | Died]]:
    """Call ``function(shared, item)`` for each item in worker processes; results come with their index, in any order.

    A worker that dies is replaced, and its item comes back as `Died`.

    Parameters
    ----------
    function
        Of a module, so that another process can import it.
    shared
        Sent to each worker once.
    workers
        Processes at most.
    most_bytes
        Memory that this process and the workers may take together; the largest worker is killed where they take more.
    on_start
        Called with the index of an item that a worker begins with.

    Raises
    ------
    SettingsError
        Workers end as soon as they are started.
    Exception
        What `function` raised.
    """
    waiting = deque(range(len(items)))
    busy: dict[Connection, tuple[_Worker, int]] = {}
    idle: list[_Worker] = []
    started_one = False
    try:
        while waiting or busy:
            while waiting and len(busy) < workers:
                worker = idle.pop() if idle else _Worker(function, shared)
                index = waiting.popleft()
                busy[worker.connection] = (worker, index)
                if on_start is not None:
                    on_start(index)
                with suppress(OSError):  # if it has died, that shows when its answer is waited for
                    worker.connection.send(items[index])
            for connection in _heard(busy, idle, most_bytes):
                worker, index = busy[connection]
                try:
                    answer = connection.recv()
                except (EOFError, OSError):
                    del busy[connection]
                    connection.close()
                    if not started_one and worker.ended is None:
                        raise SettingsError(
                            f"A worker process {worker.why_it_died()} as it was started. If this is a program of "
                            'yours, begin its work under `if __name__ == "__main__":`; or use --workers 1.'
                        ) from None
                    yield index, Died(worker.why_it_died())
                    continue
                if answer == _READY:
                    started_one = True
                    continue
                del busy[connection]
                idle.append(worker)
                if isinstance(answer, _Raised):
                    raise answer.error
                yield index, answer[0]
    finally:
        _stop([*idle, *(worker for worker, _ in busy.values())])


def _heard(
    busy: dict[Connection, tuple[_Worker, int]], idle: list[_Worker], most_bytes: int | None
) -> list[Any]:
    """Connections on which something came, memory being watched meanwhile."""
    if most_bytes is None:
        return wait(list(busy))
    while not (heard := wait(list(busy), _LOOK_EVERY)):
        taken = {worker: _resident(worker) for worker, _ in busy.values()}
        total = resident_bytes(os.getpid()) + sum(taken.values()) + sum(map(_resident, idle))
        if total > most_bytes and idle:
            _stop(idle)  # there is nothing more for them to do, and what they hold may be what is too much
            idle.clear()
        elif total > most_bytes:
            largest = max(taken, key=lambda worker: taken[worker])
            largest.end(
                f"was ended because the processes took {size_text(total)} together, "
                f"more than the {size_text(most_bytes)} allowed"
            )
    return heard


def _resident(worker: _Worker) -> int:
    return resident_bytes(worker.process.pid or 0)


def _stop(workers: Sequence[_Worker]) -> None:
    """End workers: idle ones at once, those at work after they removed what they had half-written."""
    for worker in workers:
        worker.connection.close()
        if worker.process.is_alive():
            worker.process.terminate()
    give_up = time.monotonic() + _LAST_BREATH
    for worker in workers:
        worker.process.join(max(0.0, give_up - time.monotonic()))
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.process.close()


def _serve(connection: Connection, function: Callable[[Any, Any], Any], shared: Any) -> None:
    """What a worker does until nothing more comes."""
    # At most one signal is heeded, and it may come when all is over: the one that waits ends this process by one.
    with suppress(KeyboardInterrupt):
        _answer(connection, function, shared)
        _heed_no_more()


def _answer(connection: Connection, function: Callable[[Any, Any], Any], shared: Any) -> None:
    try:
        signal.signal(signal.SIGINT, _interrupt)
        signal.signal(signal.SIGTERM, _interrupt)
        if hasattr(signal, "pthread_sigmask"):  # what came meanwhile is heard now
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT, signal.SIGTERM])
        threading.Thread(target=_end_with_parent, daemon=True).start()
        connection.send(_READY)
        while True:
            item = connection.recv()
            try:
                answer: Any = (function(shared, item),)
            except Exception as error:
                answer = _Raised(_sendable(error))
            connection.send(answer)
    except (EOFError, OSError):
        pass  # nobody is there any more to be told


def _sendable(error: Exception) -> BaseException:
    """The exception, or what it says where another process could not make it again."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _interrupt(number: int, frame: FrameType | None) -> None:
    # A second signal must not interrupt the tidying up after the first: Ctrl-C reaches all processes, and then
    # the one that started them stops them.
    _heed_no_more()
    raise KeyboardInterrupt


def _heed_no_more() -> None:
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)


def _end_with_parent() -> None:
    """Stop when the process that hands out the items is gone, killed perhaps, and nobody waits for a result."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Keep Ctrl-C from a process that is being started until it can deal with it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    # Python starts it with the first process, and then lets these signals through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def threads_each(n: int) -> Iterator[None]:
    """Let processes that are started meanwhile compute with `n` threads: they inherit the environment."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(n)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("OMP_NUM_THREADS", None)
        else:
            os.environ["OMP_NUM_THREADS"] = before
