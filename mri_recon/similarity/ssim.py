"""Structural similarity with a uniform window, in double precision: scikit-image's default, compiled and threaded.

References
----------
.. [1] Wang et al. (2004), Image quality assessment: from error visibility to structural similarity,
   IEEE TIP 13:600-612.
.. [2] van der Walt et al. (2014), scikit-image: image processing in Python, PeerJ 2:e453.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mri_recon.solvers.compiled import Kernels, address
from mri_recon.solvers.threads import ranges, share

WINDOW = 7

_kernels = Kernels("mri_recon.similarity.kernels")


def ssim_of_slices(
    target: NDArray[np.floating], image: NDArray[np.floating], data_range: float
) -> NDArray[np.float64]:
    """Similarity of each slice: the mean over all 7×7 windows that lie inside, K₁ = 0.01, K₂ = 0.03 [1]_.

    Variances are the windows' sample variances, as scikit-image's `structural_similarity` has them [2]_.

    Parameters
    ----------
    target, image
        `(slice, height, width)`, real, at least 7×7 pixels.

    Returns
    -------
    NDArray
        `(slice,)`; not a number where a slice holds one.
    """
    n_slices, height, width = target.shape
    found = np.empty(n_slices)
    n_windows = (height - WINDOW + 1) * (width - WINDOW + 1)

    def work(start: int, stop: int) -> None:
        # Memory of its own for each thread, held while its address is in use.
        t, x = np.empty((height, width)), np.empty((height, width))
        sums, total = np.empty(50 * width), np.empty(1)
        for i in range(start, stop):
            np.divide(target[i], data_range, out=t, dtype=np.float64)
            np.divide(image[i], data_range, out=x, dtype=np.float64)
            if not (np.isfinite(t).all() and np.isfinite(x).all()):
                found[i] = np.nan  # the compiled code takes for granted that there are none
                continue
            _kernels.ssim_sum(address(t), address(x), address(sums), address(total), height, width)
            found[i] = total[0] / n_windows

    share(work, ranges(n_slices))
    return found
