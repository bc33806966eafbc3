"""Combining coils."""

from __future__ import annotations

import numpy as np
import torch
from helpers import assert_close, complex_normal

from mri_recon.physics.coils import combine, expand, rss


def test_maps_of_unit_norm_give_the_image_back():
    rng = np.random.default_rng(1)
    smaps = complex_normal(rng, (2, 4, 5, 6))
    image = complex_normal(rng, (2, 5, 6))
    squared = np.sum(np.abs(smaps) ** 2, axis=1)
    assert_close(combine(expand(image, smaps), smaps), squared * image, 1e-14)
    smaps /= np.sqrt(squared)[:, None]
    assert_close(combine(expand(image, smaps), smaps), image, 1e-14)
    assert_close(rss(expand(image, smaps)), np.abs(image), 1e-14)


def test_rss_of_known_numbers():
    coil_images = np.array([3 + 0j, 4j, 12]).reshape(1, 3, 1, 1)
    assert rss(coil_images).item() == 13
    assert rss(torch.as_tensor(coil_images)).item() == 13
    assert rss(coil_images.astype(np.complex64)).dtype == np.float32
