"""Coil maps estimated again from a first image's centre, where little of it was acquired."""

import numpy as np
import pytest
from small_scans import small_scan

from mri_recon.catalog import METHODS
from mri_recon.data.scan import Scan
from mri_recon.data.synthetic import synthetic_slice
from mri_recon.errors import SettingsError
from mri_recon.methods.recalibration import completed_center, is_narrow
from mri_recon.methods.tv import TotalVariation
from mri_recon.metrics import score
from mri_recon.physics.espirit import estimate_maps
from mri_recon.reconstruct import reconstruct


def columns_of(width, center, others):
    columns = np.zeros(width, bool)
    columns[(width - center + 1) // 2 :][:center] = True
    columns[others] = True
    return columns


def test_narrow_is_less_than_two_thirds_of_what_is_asked():
    columns = columns_of(96, 15, slice(0, 0))
    assert is_narrow(columns, 24)
    assert not is_narrow(columns_of(96, 16, slice(0, 0)), 24)
    assert not is_narrow(columns, 0)
    assert not is_narrow(np.ones(12, bool), 24)  # all there are


def test_the_completed_centre_is_the_datas_and_the_images():
    rng = np.random.default_rng(0)
    columns = columns_of(40, 5, slice(1, None, 7))
    kspace = (rng.standard_normal((2, 3, 24, 40, 2)) @ [1, 1j]).astype(np.complex64) * columns
    method = TotalVariation(tv_weight=0.01, iterations=5, recalibrate=10)
    maps = estimate_maps(kspace, columns)
    completed, center = completed_center(method, kspace, columns[None, None, None], maps)
    assert center.sum() == 10
    assert center[15:25].all()
    np.testing.assert_array_equal(completed[..., columns], kspace[..., columns])
    assert (np.abs(completed[..., ~columns]).max((0, 1, 2)) > 0).all()


def test_maps_of_five_lines_are_improved_and_the_image_with_them():
    kspace, target = synthetic_slice(np.random.default_rng(3), 64, 64, 8, 0.004)
    scan = Scan("steep", kspace[None], target=target[None])
    columns = columns_of(64, 5, slice(0, None, 4))
    psnr = {}
    for n in (0, 24):
        settings = {"tv_weight": 0.003, "recalibrate": n}
        found = reconstruct(scan, "cs", mask=columns, settings=settings)
        psnr[n] = score(target[None], found.image).psnr
    assert psnr[24] > psnr[0] + 1


@pytest.mark.parametrize("method", ["cs", "varnet"])
def test_nothing_is_done_where_maps_are_given_or_enough_was_acquired(method):
    scan = small_scan()
    settings = {"tv_weight": 0.01, "iterations": 20} if method == "cs" else {}
    narrow, wide = columns_of(40, 5, slice(0, None, 3)), columns_of(40, 17, slice(0, None, 5))
    maps = estimate_maps(np.asarray(scan.kspace[:]), np.ones(40, bool))
    for mask, smaps, changes in ((narrow, None, True), (narrow, maps, False), (wide, None, False)):
        off, on = (
            reconstruct(
                scan, method, mask=mask, smaps=smaps, slices=(0, 1), settings={**settings, "recalibrate": n}
            ).image
            for n in (0, 24)
        )
        assert np.array_equal(off, on) != changes
    one = small_scan(n_coils=1)
    off, on = (
        reconstruct(one, method, mask=narrow, slices=(0, 1), settings={**settings, "recalibrate": n}).image
        for n in (0, 24)
    )
    assert np.array_equal(off, on)


def test_learned_methods_do_it_unless_told_and_the_others_where_told():
    defaults = {name: entry.load()().recalibrate for name, entry in METHODS.items()}
    assert defaults == {"zero-filled": 0, "cs": 0, "wavelet": 0, "sense": 0, "unet": 24, "varnet": 24}
    with pytest.raises(SettingsError, match="recalibrate: expected a whole number of at least 0, got -1"):
        TotalVariation(recalibrate=-1)
