"""Make tests/golden/formats: a small file of each format, written by the format's own reference tool.

    python scripts/make_format_files.py

Needs ISMRMRD's tools (Debian: ismrmrd-tools), BART, nibabel and twixtools. The ISMRMRD file also holds the image that
ISMRMRD's own reconstruction makes of it, and BART's k-space has BART's image beside it: what ours is held against.
"""

from __future__ import annotations

import gzip
import os
import subprocess
import tempfile
from pathlib import Path

import nibabel
import numpy as np
import twixtools
import twixtools.mdb

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "golden" / "formats"

PROTOCOL = """### ASCCONV BEGIN ###
tProtocolName = "gre"
sKSpace.lBaseResolution = 8
sKSpace.lPhaseEncodingLines = 8
sKSpace.ucDimension = 2
sKSpace.ucTrajectory = 1
sSliceArray.asSlice[0].dReadoutFOV = 240
sSliceArray.asSlice[0].dPhaseFOV = 240
sSliceArray.asSlice[0].dThickness = 5
### ASCCONV END ###
"""


def run(*words: str, folder: Path) -> None:
    subprocess.run(
        words, cwd=folder, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def packed(path: Path) -> None:
    """Keep a file compressed: HDF5 and TWIX are mostly empty at this size."""
    (FOLDER / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))


def make_ismrmrd(folder: Path) -> None:
    options = {"full.mrd": "-a 1 -n 0.01", "accelerated.mrd": "-a 2 -w 8 -C -n 0.05"}
    for name, words in options.items():
        run(
            "ismrmrd_generate_cartesian_shepp_logan", "-m", "16", "-c", "2", *words.split(), "-o", name, folder=folder
        )  # fmt: skip
    run("ismrmrd_recon_cartesian_2d", "full.mrd", folder=folder)
    for name in options:
        packed(folder / name)


def make_bart(folder: Path) -> None:
    run("bart", "phantom", "-x16", "-s3", "-k", "kspace", folder=folder)
    run("bart", "fft", "-u", "-i", "3", "kspace", "coils", folder=folder)
    run("bart", "rss", "8", "coils", "image", folder=folder)
    run("bart", "phantom", "-x16", "-S3", "kspace_maps", folder=folder)
    for name in ("kspace", "image", "kspace_maps"):
        for suffix in (".cfl", ".hdr"):
            (FOLDER / f"{name}{suffix}").write_bytes((folder / f"{name}{suffix}").read_bytes())


def make_nifti() -> None:
    affine = np.array([[0, -1.5, 0, 20], [2.0, 0, 0, -30], [0, 0, 4, 5], [0, 0, 0, 1]])
    volume = np.arange(4 * 5 * 3, dtype=np.float32).reshape(4, 5, 3)
    (FOLDER / "volume.nii").write_bytes(nibabel.Nifti1Image(volume, affine).to_bytes())


def twix_line(data: np.ndarray, line: int, **counters: int) -> twixtools.mdb.Mdb_local:
    """A readout of 16 samples, its echo in the middle, tilted 30° about the head-foot axis."""
    made = twixtools.mdb.Mdb_local(data)
    made.mdh.CenterCol, made.mdh.CenterLin, made.mdh.Counter.Lin = data.shape[1] // 2, 4, line
    for name, value in counters.items():
        setattr(made.mdh.Counter, name, value)
    place = made.mdh.SliceData
    place.SlicePos.Sag, place.SlicePos.Cor, place.SlicePos.Tra = 1.0, 2.0, 3.0 + 6 * counters.get("Sli", 0)
    place.Quaternion[:] = [np.cos(np.pi / 12), 0, 0, np.sin(np.pi / 12)]
    return made


def make_twix(folder: Path) -> None:
    rng = np.random.default_rng(0)

    def samples(n: int = 16) -> np.ndarray:
        return (rng.standard_normal((2, n)) + 1j * rng.standard_normal((2, n))).astype(np.complex64)

    lines = []
    noise = twix_line(samples(64), 0)
    noise.add_flag("NOISEADJSCAN")
    lines.append(noise)
    for slice_number in (1, 0):
        for line in (6, 4, 5, 2, 3, 7):  # partial Fourier: lines 0 and 1 were not measured
            lines.append(twix_line(samples(), line, Sli=slice_number))
    content = PROTOCOL.encode("latin1")
    buffer = b"MeasYaps\x00" + len(content).to_bytes(4, "little") + content
    header = (8 + len(buffer)).to_bytes(4, "little") + (1).to_bytes(4, "little") + buffer
    scan = {"hdr_str": np.frombuffer(header, "S1"), "mdb": lines}
    twixtools.write_twix(scan, str(folder / "meas.dat"))
    packed(folder / "meas.dat")


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        make_ismrmrd(Path(name))
        make_bart(Path(name))
        make_twix(Path(name))
    make_nifti()


if __name__ == "__main__":
    main()
