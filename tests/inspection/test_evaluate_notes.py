"""Scores come with the warnings about the scan that they were measured on."""

from __future__ import annotations

import dataclasses

import numpy as np
from small_scans import small_scan

from mri_recon import evaluate


def test_data_crimes_are_among_the_notes_of_an_evaluation():
    scan = small_scan("sound.h5", height=96, width=80, n_slices=2)
    scaled = dataclasses.replace(scan, name="scaled.h5", target=scan.target * np.float32(1.5))
    notes = evaluate([scan, scaled], ["zero-filled"]).notes
    (warning,) = [note for note in notes if "target" in note]
    assert warning.startswith("scaled.h5: The target is the image of k-space times 1.")


def test_only_slices_that_are_scored_count():
    scan = small_scan("sound.h5", height=96, width=80, n_slices=2)
    target = scan.target.copy()
    target[1] *= 2
    half = dataclasses.replace(scan, target=target)
    first, second = (evaluate(half, ["zero-filled"], slices=(i, i + 1)).notes for i in (0, 1))
    assert not any("target" in note for note in first)
    assert any("scaled" in note for note in second)
