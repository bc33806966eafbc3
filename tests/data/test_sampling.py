"""Which columns of a scan are used, and what is said about it."""

from __future__ import annotations

import numpy as np
import pytest
from scan_files import random_kspace

from mri_recon.catalog import MASKS
from mri_recon.data.sampling import Sampling, choose_mask, measured_columns, read_mask
from mri_recon.data.scan import Header, Scan
from mri_recon.errors import ScanError, SettingsError
from mri_recon.physics.masks import generate_mask

NAME, WIDTH = "file1000000.h5", 40
GAPS = np.isin(np.arange(WIDTH), [0, 3, *range(17, 24), 30, 39])


def make_scan(columns=None, **fields) -> Scan:
    kspace = random_kspace(3, 2, 12, WIDTH)
    return Scan(name=NAME, kspace=kspace if columns is None else kspace * columns, **fields)


def choose(scan, *arguments, **keywords):
    mask, notes = choose_mask(scan, Sampling.of(*arguments, **keywords))
    return mask, " ".join(notes)


class TestFullySampled:
    def test_by_default_random_columns_seeded_by_the_file_name(self):
        mask, notes = choose(make_scan())
        np.testing.assert_array_equal(mask.columns, generate_mask("random", WIDTH, 4, 0.08, seed=NAME))
        assert (mask.kind, mask.acceleration, mask.center_fraction) == ("random", 4, 0.08)
        assert notes == ""

    @pytest.mark.parametrize("kind", MASKS)
    def test_any_kind_at_any_pair(self, kind):
        mask, notes = choose(make_scan(), kind, 5, 0.1)
        np.testing.assert_array_equal(mask.columns, generate_mask(kind, WIDTH, 5, 0.1, seed=NAME))
        assert notes == ""

    def test_a_seed_takes_the_place_of_the_name(self):
        mask, _ = choose(make_scan(), seed=7)
        np.testing.assert_array_equal(mask.columns, generate_mask("random", WIDTH, 4, 0.08, seed=7))
        assert mask.sha256 != choose(make_scan())[0].sha256

    def test_of_several_pairs_the_seed_picks_one(self):
        for seed in range(6):
            mask, _ = choose(make_scan(), acceleration=(4, 8), seed=seed)
            # With no center fraction said, each acceleration has its usual one.
            expected = generate_mask("random", WIDTH, (4, 8), (0.08, 0.04), seed=seed)
            np.testing.assert_array_equal(mask.columns, expected)

    @pytest.mark.parametrize(
        ("acceleration", "center"), [(2, 0.08), (4, 0.08), (8, 0.04), (10, 0.032), (None, 0.08)]
    )
    def test_the_usual_centre_of_an_acceleration(self, acceleration, center):
        assert Sampling.of(acceleration=acceleration).center_fractions == pytest.approx((center,))

    def test_acceleration_one_is_every_line(self):
        mask, notes = choose(make_scan(), acceleration=1)
        assert mask.columns.all()
        assert (mask.effective_acceleration, notes) == (1, "")


class TestAsAcquired:
    def test_a_mask_in_the_file_is_used(self):
        mask, notes = choose(make_scan(GAPS, mask=GAPS))
        np.testing.assert_array_equal(mask.columns, GAPS)
        assert (mask.kind, mask.acceleration) == ("as acquired", None)
        assert mask.n_center_lines == 7
        assert "carries a mask: it is used as acquired." in notes
        assert "not applied" not in notes

    def test_a_mask_in_the_file_holds_though_all_columns_hold_data(self):
        mask, _ = choose(make_scan(mask=GAPS))
        np.testing.assert_array_equal(mask.columns, GAPS)

    @pytest.mark.parametrize(
        "asked", [{"mask": "equispaced"}, {"acceleration": 8}, {"center_fraction": 0.04}, {"acceleration": 1}]
    )
    def test_a_mask_that_was_asked_for_is_not_applied_and_that_is_said(self, asked):
        for scan in (make_scan(GAPS, mask=GAPS), make_scan(GAPS)):
            mask, notes = choose(scan, **asked)
            np.testing.assert_array_equal(mask.columns, GAPS)
            assert "the mask asked for is not applied" in notes

    def test_empty_columns_between_others_show_that_it_was_undersampled(self):
        mask, notes = choose(make_scan(GAPS))
        np.testing.assert_array_equal(mask.columns, GAPS)
        assert mask.kind == "as acquired"
        assert f"has data in {GAPS.sum()} of {WIDTH} columns only" in notes

    def test_lines_that_the_mask_claims_but_nothing_was_measured_in_do_not_count(self):
        claimed = GAPS.copy()
        claimed[:3] = True
        mask, _ = choose(make_scan(GAPS, mask=claimed))
        np.testing.assert_array_equal(mask.columns, GAPS)
        assert mask.n_lines == GAPS.sum()

    def test_of_a_mask_of_ones_own_only_what_was_acquired_is_used(self):
        own = np.arange(WIDTH) >= 17
        mask, notes = choose(make_scan(GAPS), own)
        np.testing.assert_array_equal(mask.columns, GAPS & own)
        assert "only acquired columns are used" in notes


class TestEmptyEdges:
    EDGES = (np.arange(WIDTH) >= 6) & (np.arange(WIDTH) < 34)

    def test_padding_is_no_line_and_masks_drop_it(self):
        mask, notes = choose(make_scan(self.EDGES, header=Header(padding=(6, 34))))
        drawn = generate_mask("random", WIDTH, 4, 0.08, seed=NAME)
        # The mask is fastMRI's, drawn over the whole width.
        assert drawn[~self.EDGES].any()
        np.testing.assert_array_equal(mask.columns, drawn & self.EDGES)
        assert mask.n_lines < drawn.sum()
        assert notes == ""

    def test_without_a_header_that_explains_them_it_is_said(self):
        for header in (Header(), Header(padding=(5, 34))):
            mask, notes = choose(make_scan(self.EDGES, header=header))
            assert not mask.columns[~self.EDGES].any()
            assert mask.kind == "random"
            assert f"Columns outside 6–33 of {WIDTH} hold no data" in notes

    def test_every_line_is_every_line_there_is(self):
        mask, _ = choose(make_scan(self.EDGES, header=Header(padding=(6, 34))), acceleration=1)
        np.testing.assert_array_equal(mask.columns, self.EDGES)
        assert mask.effective_acceleration == pytest.approx(WIDTH / 28)


class TestMaskOfOnesOwn:
    @pytest.mark.parametrize(
        "given",
        [GAPS, GAPS.astype(np.uint8), 2.0 * GAPS, GAPS.reshape(1, 1, 1, -1), GAPS.astype(np.int64)[None]],
        ids=["bool", "uint8", "float", "four axes", "two axes"],
    )
    def test_nonzero_is_acquired_from_an_array_or_a_file(self, given, tmp_path):
        np.save(tmp_path / "mask.npy", given)
        for mask in (given, tmp_path / "mask.npy"):
            chosen, notes = choose(make_scan(), mask)
            np.testing.assert_array_equal(chosen.columns, GAPS)
            assert chosen.columns.dtype == bool
            assert (chosen.kind, chosen.n_center_lines, notes) == ("file", 7, "")

    def test_another_width_is_an_error(self):
        with pytest.raises(SettingsError, match=r"file1000000.h5.*has 39 columns, k-space has 40"):
            choose(make_scan(), GAPS[1:])

    @pytest.mark.parametrize("given", [np.ones((2, WIDTH)), np.array(1), np.array(["a", "b"])])
    def test_what_is_no_mask_is_an_error(self, given, tmp_path):
        np.save(tmp_path / "mask.npy", given)
        with pytest.raises(SettingsError, match=r"mask.npy is not one: expected an array \(width,\)"):
            read_mask(tmp_path / "mask.npy")
        with pytest.raises(SettingsError, match="The mask is not one"):
            choose(make_scan(), given)

    def test_what_is_no_file_of_numpy_is_an_error(self, tmp_path):
        with pytest.raises(SettingsError, match=r"no mask file .*mri-recon mask --width N -o"):
            read_mask(tmp_path / "mask.npy")
        (tmp_path / "text.npy").write_text("0 1 1 0\n")
        (tmp_path / "empty.npy").touch()
        np.save(tmp_path / "objects.npy", np.array([{}, []], dtype=object), allow_pickle=True)
        for name in ("text.npy", "empty.npy", "objects.npy"):
            with pytest.raises(SettingsError, match=f"{name} is not a NumPy .npy file"):
                read_mask(tmp_path / name)

    def test_one_that_leaves_nothing_is_an_error(self):
        with pytest.raises(ScanError, match="leaves none of the columns that hold data"):
            choose(make_scan(GAPS), ~GAPS)


class TestMeasuredColumns:
    def test_all_zero_is_an_error(self):
        with pytest.raises(ScanError, match="k-space is zero everywhere"):
            choose(make_scan(np.zeros(WIDTH)))

    def test_three_slices_are_enough_unless_they_are_empty(self):
        class Counted:
            shape = (9, 2, 12, WIDTH)

            def __init__(self, empty):
                self.seen, self.empty = [], empty

            def __getitem__(self, index):
                self.seen.append(index.start)
                return random_kspace(1, *self.shape[1:]) * (GAPS if index.start not in self.empty else 0)

        for empty, seen in (((), [0, 4, 8]), ((0, 8), [0, 4, 8]), ((0, 4, 8), [0, 4, 8, *range(9)])):
            kspace = Counted(empty)
            np.testing.assert_array_equal(measured_columns(Scan(name=NAME, kspace=kspace)), GAPS)
            assert kspace.seen == seen


class TestWhatWasNeverMeasured:
    def test_padding_that_holds_data_is_left_out_and_said(self):
        mask, notes = choose(make_scan(header=Header(padding=(4, 36))), acceleration=1)
        assert mask.n_lines == 32
        assert not mask.columns[:4].any()
        assert not mask.columns[36:].any()
        assert "header calls padding" in notes

    def test_a_lost_line_is_no_acceleration(self):
        columns = np.arange(WIDTH) != 7
        mask, notes = choose(make_scan(columns), acceleration=1)
        assert mask.kind == "random"
        np.testing.assert_array_equal(mask.columns, columns)
        assert "1 columns are missing" in notes

    def test_a_mask_of_every_column_is_full_sampling(self):
        mask, _ = choose(make_scan(mask=np.ones(WIDTH, dtype=bool)), acceleration=4)
        np.testing.assert_array_equal(mask.columns, generate_mask("random", WIDTH, 4, 0.08, seed=NAME))

    def test_slices_not_asked_for_are_not_looked_at(self):
        scan = make_scan()
        scan.kspace[2] = 0
        assert measured_columns(scan, (0, 2)).all()
        with pytest.raises(ScanError, match="zero everywhere"):
            measured_columns(scan, (2, 3))
