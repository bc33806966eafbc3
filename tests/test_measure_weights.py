"""The script that holds networks against the best of compressed sensing in hindsight."""

from __future__ import annotations

from helpers import ROOT
from small_scans import small_scan


def test_the_peers_are_tried_at_the_weights_asked_for_and_the_best_is_kept(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import measure_weights

    scan = small_scan("a.h5", height=32, width=32, n_slices=1, n_coils=1)
    alone = {
        weight: measure_weights._scores(scan, "cs", 4, 0, settings={"tv_weight": weight})
        for weight in (0.004, 0.3)
    }
    found = measure_weights._peers(scan, 4, 0, tuple(alone))
    assert found["cs"] == max(alone.values(), key=lambda scores: scores.psnr)
    assert found["wavelet"].weight in alone
    assert alone[0.004].psnr != alone[0.3].psnr
