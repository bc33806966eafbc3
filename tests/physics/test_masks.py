"""Masks column for column against fastMRI's, and what is said when one cannot be drawn."""

from __future__ import annotations

import hashlib
import re

import numpy as np
import pytest
from helpers import golden

from mri_recon.catalog import MASKS
from mri_recon.errors import SettingsError
from mri_recon.physics.masks import SamplingMask, center_run, centered_columns, draw_mask, generate_mask

A, B, BRAIN = "file1000000.h5", "file1000001.h5", "file_brain_AXT2_200_2000019.h5"

PUBLISHED = [
    ("random", A, 368, [0.08], [4], 88, "c814b1134c27f1ff"),
    ("random", A, 368, [0.04], [8], 46, "cb9280885f79813c"),
    ("random", A, 372, [0.08, 0.04], [4, 8], 45, "663f0901771b1460"),
    ("random", B, 368, [0.08], [4], 81, "fa3896ee4c65d921"),
    ("random", BRAIN, 320, [0.08], [4], 81, "fc00990050a92764"),
    ("equispaced_fraction", A, 368, [0.08], [4], 93, "2dbf84cf0f4a2f9f"),
    ("equispaced_fraction", BRAIN, 320, [0.08], [4], 80, "b5f50c694a4738dd"),
    ("equispaced", A, 368, [0.08], [4], 114, "621c60306e8d2777"),
    ("magic", A, 368, [0.08], [4], 114, "9522ccd1e87672ef"),
    ("magic_fraction", A, 368, [0.08], [4], 86, "be97d9add942a7f5"),
]
WIDTHS = (368, 320, 213, 64, 33)


@pytest.mark.parametrize(("kind", "name", "width", "fractions", "accelerations", "lines", "sha"), PUBLISHED)
def test_equals_fastmri(kind, name, width, fractions, accelerations, lines, sha):
    mask = draw_mask(kind, width, accelerations, fractions, seed=name)
    assert (mask.n_lines, mask.sha256[:16]) == (lines, sha)
    np.testing.assert_array_equal(
        generate_mask(kind, width, accelerations, fractions, seed=name), mask.columns
    )


@pytest.mark.parametrize("kind", MASKS)
def test_equals_fastmri_at_forty_more_settings(kind):
    cases = [case for case in golden("masks") if case["mask"] == kind]
    assert len(cases) == 40
    for case in cases:
        fractions, accelerations = zip(*case["pairs"], strict=True)
        mask = draw_mask(kind, case["width"], accelerations, fractions, seed=case["name"])
        assert (mask.n_lines, mask.sha256[:16]) == (case["lines"], case["sha256"]), case
        assert (mask.center_fraction, mask.acceleration) in [tuple(pair) for pair in case["pairs"]]


@pytest.mark.parametrize("kind", MASKS)
class TestEveryKind:
    def test_says_what_it_is(self, kind):
        mask = draw_mask(kind, 320, 4, 0.08, seed=A)
        assert mask.kind == kind
        assert (mask.acceleration, mask.center_fraction) == (4, 0.08)
        assert mask.n_center_lines == 26
        assert mask.n_lines == np.count_nonzero(mask.columns)
        assert mask.effective_acceleration == pytest.approx(320 / mask.n_lines)
        ones_and_zeros = bytes(int(column) for column in mask.columns)
        assert mask.sha256 == hashlib.sha256(ones_and_zeros).hexdigest()

    @pytest.mark.parametrize("width", WIDTHS)
    def test_the_centre_is_full(self, kind, width):
        mask = draw_mask(kind, width, 4, 0.1, seed=3)
        n_center = round(width * 0.1)
        assert mask.n_center_lines == n_center
        start, stop = center_run(mask.columns)
        first = (width - n_center + 1) // 2
        assert start <= first
        assert stop >= first + n_center

    def test_the_seed_alone_decides(self, kind):
        np.random.seed(0)
        state = np.random.get_state()[1].copy()
        one, same = (generate_mask(kind, 368, 4, 0.08, seed=A) for _ in range(2))
        np.testing.assert_array_equal(one, same)
        # Random columns never repeat; of the few offsets some differ only inside the centre.
        several = {generate_mask(kind, 368, 4, 0.08, seed=seed).tobytes() for seed in range(40)}
        assert len(several) == 40 if kind == "random" else 1 < len(several) <= 6
        # A name is the tuple of its code points.
        np.testing.assert_array_equal(one, generate_mask(kind, 368, 4, 0.08, seed=tuple(map(ord, A))))
        np.testing.assert_array_equal(np.random.get_state()[1], state)

    @pytest.mark.parametrize("width", [*WIDTHS, 6, 1])
    def test_acceleration_one_is_every_line(self, kind, width):
        mask = draw_mask(kind, width, 1, 0.08, seed=A)
        assert mask.columns.all()
        assert mask.effective_acceleration == 1

    def test_acceleration_one_among_pairs(self, kind):
        drawn = {
            draw_mask(kind, 128, [1, 4], [0.08, 0.08], seed=seed).effective_acceleration == 1
            for seed in range(12)
        }
        assert drawn == {True, False}


@pytest.mark.parametrize("kind", ["random", "equispaced_fraction", "magic_fraction"])
def test_the_corrected_kinds_meet_the_acceleration(kind):
    lines = [draw_mask(kind, 368, 4, 0.08, seed=seed).n_lines for seed in range(200)]
    # Magic rounds its spacing to whole columns, so it may be some lines off; random varies about 92.
    assert np.mean(lines) == pytest.approx(92, abs=8 if kind == "magic_fraction" else 1)
    assert (np.std(lines) > 3) == (kind == "random")


@pytest.mark.parametrize("kind", ["equispaced", "magic"])
def test_the_uncorrected_kinds_take_every_fourth_column_and_the_centre(kind):
    for seed in range(20):
        columns = generate_mask(kind, 368, 4, 0.08, seed=seed)
        outer = columns & ~centered_columns(368, 29)
        left, right = np.flatnonzero(outer[:169]), np.flatnonzero(outer[198:])
        assert set(np.diff(left)) == set(np.diff(right)) == {4}


IMPOSSIBLE = [
    # kind, width, acceleration, center_fraction, what the message says, and which number it offers
    ("random", 368, 16, 0.08, "alone needs 29 of 368 lines; acceleration 16 allows 23.", "0.0625"),
    ("equispaced_fraction", 368, 16, 0.08, "needs 29 of 368 lines; acceleration 16 allows 22.", "0.0597"),
    ("magic_fraction", 368, 16, 0.08, "needs 29 of 368 lines; acceleration 16 allows 22.", "0.0597"),
    ("random", 368, 4, 0.001, "center_fraction 0.001 of 368 columns leaves no centre line.", "0.0027"),
    ("equispaced", 368, 4, 0.001, "leaves no centre line.", "0.0027"),
    ("equispaced", 368, 4.5, 0.08, "'equispaced' needs a whole acceleration, not 4.5.", "4"),
    ("magic", 368, 5.5, 0.08, "'magic' needs a whole acceleration, not 5.5.", "6"),
    ("equispaced_fraction", 33, 33, 0.03, "acceleration 33 allows 0.", "16"),
    ("magic_fraction", 320, 320, 0.002, "acceleration 320 allows 0.", "160"),
]


@pytest.mark.parametrize(("kind", "width", "acceleration", "fraction", "says", "offers"), IMPOSSIBLE)
def test_an_impossible_combination_is_an_error_with_the_fix(
    kind, width, acceleration, fraction, says, offers
):
    with pytest.raises(SettingsError) as caught:
        draw_mask(kind, width, acceleration, fraction, seed=A)
    message = str(caught.value)
    assert says in message
    assert offers in message.partition("Use ")[2]
    assert "\n" not in message


def _follow(message: str, acceleration: float, fraction: float, kind: str) -> tuple[float, float, str]:
    """The combination that a message tells the user to use."""
    _, _, fix = message.partition("Use ")
    if found := re.match(r"center_fraction [≤≥] ([\d.e-]*\d)", fix):
        return acceleration, float(found[1]), kind
    if found := re.match(r"acceleration ≤ (\d+)", fix):
        return float(found[1]), fraction, kind
    whole, other = re.match(r"(\d+), or --mask (\w+)", fix).groups()
    # The other kind takes the fraction, so both offers can be tried at once only as the second.
    assert draw_mask(other, 368, acceleration, 0.04, seed=A).acceleration == acceleration
    return float(whole), fraction, kind


def _refusal(acceleration: float, fraction: float, kind: str, width: int) -> str | None:
    try:
        mask = draw_mask(kind, width, acceleration, fraction, seed=A)
    except SettingsError as error:
        return str(error)
    assert 1 <= mask.n_lines <= width
    return None


@pytest.mark.parametrize("width", [*WIDTHS, 17, 5, 2])
@pytest.mark.parametrize("kind", MASKS)
def test_what_an_error_offers_works(kind, width):
    """Doing as told ends in a mask; at most two things can be wrong, the acceleration and the centre."""
    n_refused = 0
    for acceleration in (a for a in (1.3, 2, 4, 4.5, 7.7, 16, 100, 213, 368) if a <= width):
        for fraction in (1e-6, 0.01, 0.08, 0.3, 0.7, 1.0):
            now = (acceleration, fraction, kind)
            for _ in range(2):
                if message := _refusal(*now, width):
                    n_refused += 1
                    now = _follow(message, *now)
            assert _refusal(*now, width) is None, (acceleration, fraction)
    assert n_refused


@pytest.mark.parametrize("kind", MASKS)
def test_one_impossible_pair_is_refused_whichever_is_drawn(kind):
    bad = (4.5, 0.08) if kind in ("equispaced", "magic") else (16, 0.3)
    for seed in range(6):
        with pytest.raises(SettingsError):
            draw_mask(kind, 128, [4, bad[0]], [0.08, bad[1]], seed=seed)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"kind": "randon"}, "There is no mask 'randon'. Did you mean 'random'?"),
        ({"width": 0}, "at least one column, not 0"),
        ({"accelerations": [4, 8]}, "2 accelerations came with 1 center fractions"),
        ({"accelerations": [], "center_fractions": []}, "0 accelerations"),
        ({"accelerations": 0.5}, "acceleration 0.5 is out of range"),
        ({"accelerations": 65}, "use 1 (every line) to 64 (one line)"),
        ({"accelerations": float("nan")}, "acceleration nan is out of range"),
        ({"center_fractions": 0}, "center_fraction 0 is out of range"),
        ({"center_fractions": 1.01}, "center_fraction 1.01 is out of range"),
        ({"center_fractions": float("nan")}, "center_fraction nan is out of range"),
        ({"seed": -1}, "seed -1 is out of range"),
        ({"seed": 2**32}, "seed 4294967296 is out of range"),
        ({"seed": ""}, "seed '' is out of range"),
    ],
)
def test_bad_arguments(arguments, says):
    good = {"kind": "random", "width": 64, "accelerations": 4, "center_fractions": 0.08, "seed": 1}
    with pytest.raises(SettingsError) as caught:
        draw_mask(**(good | arguments))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "run"),
    [
        ("1111111", (0, 7)),
        ("11111111", (0, 8)),
        ("0001000", (3, 4)),
        ("0110110", (3, 3)),  # the centre column itself is missing
        ("00001110", (4, 7)),
        ("10011101", (3, 6)),
        ("11111000", (0, 5)),
        ("1", (0, 1)),
        ("0", (0, 0)),
    ],
)
def test_center_run(pattern, run):
    columns = np.array([c == "1" for c in pattern])
    assert center_run(columns) == run


@pytest.mark.parametrize(
    ("width", "n", "first"), [(8, 4, 2), (8, 3, 3), (7, 3, 2), (7, 4, 2), (7, 7, 0), (5, 1, 2)]
)
def test_centered_columns_hold_the_zero_frequency(width, n, first):
    columns = centered_columns(width, n)
    assert np.flatnonzero(columns).tolist() == list(range(first, first + n))
    assert columns[width // 2]


def test_a_mask_without_lines_has_a_finite_acceleration():
    assert SamplingMask("file", np.zeros(8, dtype=bool), 0).effective_acceleration == 8
