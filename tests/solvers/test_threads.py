"""Work shared out among threads: all of it done once, in order where order is promised."""

from __future__ import annotations

import threading

import pytest

from mri_recon.solvers.threads import in_order, limited_threads, n_threads, ranges, share, share_rows


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("rows", [1, 7, 64])
def test_every_row_is_done_once(n, rows):
    done = []
    with limited_threads(n):
        share(lambda a, b: done.extend(range(a, b)), ranges(rows))
        assert sorted(done) == list(range(rows))
        assert len(ranges(rows)) == min(n, rows)
        assert len(ranges(rows, least=40)) == max(1, min(n, rows // 40))
        chunks = []
        share_rows(lambda a, b: chunks.append((a, b)), rows, 3)
    assert sorted(chunks) == [(a, min(a + 3, rows)) for a in range(0, rows, 3)]


def test_shared_work_is_not_shared_further():
    with limited_threads(3):
        inside = []
        share(lambda *_: inside.append(n_threads()), ranges(3))
        assert inside == [1, 1, 1]
        assert n_threads() == 3


def test_an_error_comes_out():
    def fail(start, _):
        if start == 0:
            raise ValueError("first part")

    with limited_threads(2), pytest.raises(ValueError, match="first part"):
        share(fail, [(0, 1), (1, 2)])


@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_results_come_in_order_and_threads_are_divided(at_once):
    barrier = threading.Barrier(at_once, timeout=10)
    seen = []

    def work(item):
        if item < at_once:
            barrier.wait()  # that many really run at once
        seen.append(n_threads())
        return item * item

    with limited_threads(4):
        assert list(in_order(work, range(9), at_once)) == [i * i for i in range(9)]
    assert set(seen) == {4 // at_once}


def test_the_first_failure_stops_the_rest():
    started = []

    def work(item):
        started.append(item)
        if item == 1:
            raise ValueError("item 1")
        return item

    results = in_order(work, range(100), 2)
    with limited_threads(2), pytest.raises(ValueError, match="item 1"):
        list(results)
    assert len(started) < 20
