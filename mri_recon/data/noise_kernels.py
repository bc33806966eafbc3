"""The kernel of simulated noise; `mri_recon.data.noise` calls it and says what it is for.

As in `mri_recon.solvers.kernels`, loops run over real numbers with unsigned indices, so that they are vectorised.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray

from mri_recon.solvers.compiled import kernel

_U = np.uint64
_F, _I = np.float32, np.int32
_HALF, _ONE, _TWO = _F(0.5), _F(1), _F(2)
_TO_ONE, _TO_HALF = _F(2.0**-31), _F(2.0**-32)

# log(1 + x)/x from 1 + x = √½, whose bits as an integer are those below, to √2; good to 5e-9.
_LOG = tuple(_F(c) for c in (
    1, -0.499999883, 0.33333324, -0.250015851, 0.200020717, -0.166091265, 0.141800787, -0.132408427, 0.129141703,
    -0.0763859243,
))  # fmt: skip
_LN_2, _ROOT, _MANTISSA = _F(0.6931472), _I(0x3F3504F3), _I(23)
# sin(πx)/x and cos(πx) in x², up to a quarter; good to 3e-10. Like the first, fits at Chebyshev's points.
_SINE = tuple(
    _F(c) for c in (3.14159265, -5.16771276, 2.55016332, -0.599252198, 0.0820504017, -0.00702838626)
)
_COSINE = tuple(_F(c) for c in (1, -4.93480214, 4.05870916, -1.335212, 0.234937314, -0.0243963243))


@kernel("int32*, float32*, float32, int64")
def add_normal(bits_: Any, out_: Any, scale: Any, size: Any) -> None:
    """Add to complex out (size, 2) normal numbers made of random bits (size, 2), by Box and Muller's transform.

    Of radius √(−2 ln u) at a turn of v: u is the first of the integers without its sign, the second is v.
    """
    n = _U(size)
    bits, out = carray(bits_, (2 * size,)), carray(out_, (2 * size,))
    of_log, of_sine, of_cosine = _LOG, _SINE, _COSINE
    for j in range(n):
        u = (np.abs(_F(bits[_U(2) * j])) + _HALF) * _TO_ONE
        whole = np.float32(u).view(np.int32)
        exponent = (whole - _ROOT) >> _MANTISSA
        x = np.int32(whole - (exponent << _MANTISSA)).view(np.float32) - _ONE
        y = of_log[4] + x * (of_log[5] + x * (of_log[6] + x * (of_log[7] + x * (of_log[8] + x * of_log[9]))))
        y = x * (of_log[0] + x * (of_log[1] + x * (of_log[2] + x * (of_log[3] + x * y))))
        radius = scale * np.sqrt(np.abs(_TWO * (_F(exponent) * _LN_2 + y)))
        # Half the angle first: sin 2a = 2 sin a cos a, cos 2a = 1 − 2 sin² a.
        t = _F(bits[_U(2) * j + _U(1)]) * _TO_HALF
        x = t * t
        sine = of_sine[0] + x * (
            of_sine[1] + x * (of_sine[2] + x * (of_sine[3] + x * (of_sine[4] + x * of_sine[5])))
        )
        sine = t * sine
        cosine = of_cosine[0] + x * (
            of_cosine[1] + x * (of_cosine[2] + x * (of_cosine[3] + x * (of_cosine[4] + x * of_cosine[5])))
        )
        out[_U(2) * j] += radius * (_ONE - _TWO * sine * sine)
        out[_U(2) * j + _U(1)] += radius * (_TWO * sine * cosine)
