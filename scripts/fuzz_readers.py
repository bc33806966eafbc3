"""Coverage-guided fuzzing of the readers, by atheris: files that Python's coverage says lead somewhere new.

``python scripts/fuzz_readers.py header|hdf5 FOLDER -max_total_time=300`` keeps in FOLDER what it found interesting, and
goes on from there; further options are libFuzzer's. It ends at the first input that raises anything but an error of
mri-recon's, takes more than 10 s, or kills the process, and leaves that input in FOLDER as ``crash-…``.
"""

from __future__ import annotations

import resource
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["mri_recon.data", "xml.etree"]):
    from mri_recon.data import hdf5, hdf5_guard, header, layout, storage  # noqa: F401
    from mri_recon.data.formats import ismrmrd, readouts, registry, sorting  # noqa: F401

import h5py
import numpy as np

from mri_recon.data.header import build_header, parse_header
from mri_recon.data.scan import Scan
from mri_recon.errors import MriReconError

_LARGEST = 64 * 1024
_SCRATCH = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))


def read_header(content: bytes) -> None:
    """The XML header, as text of any kind; what comes back must be usable to write a header again."""
    text = content.decode("utf-8", errors="replace")
    found, _ = parse_header(text, 20)
    build_header(Scan(name="a.h5", kspace=np.ones((1, 1, 24, 20), np.complex64), header=found))


def read_file(content: bytes) -> None:
    """A file, as `reconstruct` would read it: the scans in it, their first slices and targets."""
    path = _SCRATCH / "a.h5"
    path.write_bytes(content)
    try:
        for scan in registry.read_scans(path):
            _ = scan.kspace[:1], scan.target[:1] if scan.target is not None else None
    except MriReconError as error:
        if "\n" in str(error):
            raise


def seeds(folder: Path, target: str) -> None:
    """Sound inputs to begin with."""
    rng = np.random.default_rng(0)
    kspace = (rng.standard_normal((1, 2, 8, 6)) + 1j * rng.standard_normal((1, 2, 8, 6))).astype(np.complex64)
    scan = Scan(name="a.h5", kspace=kspace, target=np.abs(kspace[:, 0]), mask=np.ones(6, bool))
    if target == "header":
        (folder / "seed_header").write_text(build_header(scan), encoding="utf-8")
        return
    storage.write_scan(folder / "seed_fastmri", scan, overwrite=True)
    ismrmrd.Ismrmrd.write_scan(folder / "seed_mrd", scan, overwrite=True)
    for name, libver in (("seed_chunked", None), ("seed_latest", "latest")):
        with h5py.File(folder / name, "w", libver=libver) as file:
            file.create_dataset("kspace", data=kspace, chunks=(1, 1, 8, 6), compression="gzip")
            file["ismrmrd_header"] = build_header(scan)
            file.attrs["acquisition"] = "AXT1"
            file["again"] = h5py.SoftLink("/kspace")


def main() -> None:
    """Fuzz the target named on the command line."""
    targets = {"header": read_header, "hdf5": read_file}
    if len(sys.argv) < 3 or sys.argv[1] not in targets:
        sys.exit(__doc__)
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    seeds(folder, sys.argv[1])
    # A reference that lies about its length makes HDF5 ask for up to 4 GiB: refused here, it is an error as others are.
    resource.setrlimit(resource.RLIMIT_AS, (2 * 2**30, 2 * 2**30))
    limits = [f"-max_len={_LARGEST}", "-timeout=10", "-rss_limit_mb=2048", f"-artifact_prefix={folder}/"]
    atheris.Setup([sys.argv[0], str(folder), *limits, *sys.argv[3:]], targets[sys.argv[1]])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
