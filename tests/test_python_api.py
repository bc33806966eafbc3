"""Everything the commands do, in a few lines of Python."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import mri_recon
from mri_recon import (
    MriReconError,
    Scan,
    evaluate,
    generate_mask,
    read_scan,
    reconstruct,
    sample_scan,
    write_reconstruction,
    write_scan,
)


def test_from_a_scan_on_disk_to_a_table(tmp_path):
    write_scan(tmp_path / "scan.h5", sample_scan(height=112, width=96, n_slices=1, n_coils=4))
    scan = read_scan(tmp_path / "scan.h5")
    assert isinstance(scan, Scan)

    result = reconstruct(scan, method="cs", acceleration=4)
    assert result.image.shape == (1, 112, 96)
    np.testing.assert_array_equal(result.mask.columns, generate_mask("random", 96, 4, 0.08, seed="scan.h5"))
    write_reconstruction(tmp_path / "out.h5", result.image)

    table = evaluate(tmp_path / "scan.h5", ["zero-filled", "cs"], pairs=[(4, 0.08)])
    by_method = {volume.method: volume for volume in table.volumes}
    assert by_method["cs"].psnr == pytest.approx(result.metrics.psnr, rel=1e-9)
    assert by_method["cs"].psnr > by_method["zero-filled"].psnr
    assert "| cs |" in table.markdown()

    with pytest.raises(MriReconError, match=r"scan\.h5"):
        read_scan(tmp_path / "scan.hdf5")


def test_every_name_is_what_its_home_calls_so():
    for name, home in mri_recon._HOMES.items():
        found = getattr(mri_recon, name)
        assert (found.__module__, found.__name__) == (home, name)
    assert set(mri_recon.__all__) <= set(dir(mri_recon))
    with pytest.raises(AttributeError, match="no attribute 'recontruct'"):
        _ = mri_recon.recontruct


@pytest.mark.parametrize(
    "first",
    [
        "import mri_recon.reconstruct",
        "import mri_recon.evaluation.run",
        "from mri_recon import reconstruct; import mri_recon.reconstruct",
    ],
)
def test_functions_named_as_their_files_stay_functions(first):
    """`import mri_recon.reconstruct` would otherwise put the module in the place of the function."""
    code = (
        f"{first}\nimport mri_recon\nfrom mri_recon import evaluate, reconstruct\n"
        "assert callable(reconstruct) and callable(evaluate)\n"
        "assert mri_recon.reconstruct is reconstruct and mri_recon.evaluate is evaluate\n"
        "from mri_recon.reconstruct import kspace_scale\n"
        "from mri_recon.evaluation.table import Evaluation\n"
        "import sys; assert sys.modules['mri_recon.reconstruct'].reconstruct is reconstruct"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_names_can_still_be_replaced(monkeypatch):
    monkeypatch.setattr(mri_recon, "__version__", "9")
    assert mri_recon.__version__ == "9"
