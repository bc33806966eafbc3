"""Writing scans and reconstructions: what was written is read back, whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from io import FileIO
from pathlib import Path

import h5py
import numpy as np
import pytest
from scan_files import make_file, names, random_kspace

from mri_recon.data import new_hdf5
from mri_recon.data.scan import Header, Scan
from mri_recon.data.storage import (
    ReconstructionWriter,
    read_reconstruction,
    read_scan,
    write_reconstruction,
    write_scan,
)
from mri_recon.errors import OutputError, ScanError


def sample(n_coils: int = 3, n_coils_stored: int = 3, **fields) -> Scan:
    rng = np.random.default_rng(3)
    return Scan(
        name="case.h5",
        kspace=random_kspace(4, n_coils, 7, 9),
        target=rng.random((4, 5, 7), np.float32),
        n_coils_stored=n_coils_stored,
        **fields,
    )


def complaint(act) -> str:
    with pytest.raises((OutputError, ScanError)) as error:
        act()
    assert "\n" not in str(error.value)
    return str(error.value)


# --- scans ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_coils", "n_coils_stored"), [(1, 0), (1, 1), (3, 3), (16, 16)])
def test_a_scan_reads_as_it_was_written(tmp_path, n_coils, n_coils_stored):
    scan = sample(
        n_coils,
        n_coils_stored,
        mask=np.array([1, 0, 0, 1, 1, 1, 0, 1, 0], bool),
        header=Header(encoded=(7, 9, 1), recon=(5, 7, 1), padding=(1, 8)),
        acquisition="AXT2",
        smaps=random_kspace(4, n_coils, 7, 9, seed=1),
        truth=random_kspace(4, 7, 9, seed=2),
        attributes={
            "seed": 3,
            "noise": 0.25,
            "kind": "Kopf – ä",
            "flag": True,
            "list": [1, 2],
            "patient_id": "p7",
        },
    )
    write_scan(tmp_path / "case.h5", scan)
    read = read_scan(tmp_path / "case.h5")
    for name in ("kspace", "target", "smaps", "truth"):
        written, got = getattr(scan, name), getattr(read, name)
        assert got.shape == written.shape
        assert np.array_equal(got[:], written)
        assert got[:].dtype == written.dtype
    assert np.array_equal(read.mask, scan.mask)
    assert (read.name, read.acquisition, read.n_coils_stored) == ("case.h5", "AXT2", n_coils_stored)
    assert (read.header.encoded, read.header.recon) == ((7, 9, 1), (5, 7, 1))
    assert (read.header.padding, read.notes) == ((1, 8), ())
    target = scan.target.astype(np.float64)
    assert read.attributes["max"] == target.max()
    assert np.isclose(read.attributes["norm"], np.linalg.norm(target), rtol=1e-12)
    assert {k: read.attributes[k] for k in scan.attributes} == scan.attributes

    # A second generation equals the first to the byte of every array and to the header's letter.
    write_scan(tmp_path / "again.h5", read)
    again = read_scan(tmp_path / "again.h5")
    assert (again.header, again.attributes) == (read.header, read.attributes)
    assert np.array_equal(again.kspace[:], scan.kspace)


@pytest.mark.parametrize(
    ("n_coils_stored", "shape", "target"),
    [
        (0, (4, 7, 9), "reconstruction_esc"),
        (1, (4, 1, 7, 9), "reconstruction_esc"),
        (3, (4, 3, 7, 9), "reconstruction_rss"),
    ],
)
def test_the_layout_is_fastmris(tmp_path, n_coils_stored, shape, target):
    write_scan(tmp_path / "case.h5", sample(max(n_coils_stored, 1), n_coils_stored))
    with h5py.File(tmp_path / "case.h5") as file:
        assert set(file) == {"kspace", target, "ismrmrd_header"}
        assert (file["kspace"].shape, file["kspace"].dtype) == (shape, np.complex64)
        assert (file[target].shape, file[target].dtype) == ((4, 5, 7), np.float32)
        assert isinstance(file["ismrmrd_header"][()], bytes)
        assert set(file.attrs) == {"max", "norm", "acquisition", "patient_id"}
        assert file.attrs["patient_id"] == "case"


def test_a_file_can_be_written_over_itself(tmp_path):
    path = tmp_path / "case.h5"
    write_scan(path, sample())
    scan = read_scan(path)
    write_scan(path, scan, overwrite=True)
    assert np.array_equal(read_scan(path).kspace[:], sample().kspace)


def test_slices_are_written_one_at_a_time(tmp_path):
    class Counting:
        shape = (4, 3, 7, 9)
        seen: list[slice] = []  # noqa: RUF012

        def __getitem__(self, index):
            self.seen.append(index)
            return random_kspace(*self.shape)[index]

    counting = Counting()
    write_scan(tmp_path / "a.h5", Scan(name="a.h5", kspace=counting, n_coils_stored=3))
    assert counting.seen == [slice(i, i + 1) for i in range(4)]


def test_an_existing_scan_is_kept_unless_told(tmp_path):
    path = make_file(tmp_path / "a.h5", kspace=random_kspace(1, 4, 4))
    before = path.read_bytes()
    message = complaint(lambda: write_scan(path, sample()))
    assert str(path) in message
    assert "overwrite=True" in message
    assert path.read_bytes() == before


def test_a_failure_midway_leaves_what_was_there(tmp_path):
    path = make_file(tmp_path / "a.h5", kspace=random_kspace(1, 4, 4))
    before = path.read_bytes()
    kspace = random_kspace(4, 3, 7, 9)
    kspace[2, 1, 3, 3] = np.nan
    broken = Scan(name="a.h5", kspace=kspace)
    message = complaint(lambda: write_scan(path, broken, overwrite=True))
    assert "slice 2 of 'kspace' holds NaN" in message
    complaint(lambda: write_scan(tmp_path / "new.h5", broken))
    assert path.read_bytes() == before
    assert names(tmp_path) == ["a.h5"]


def test_damage_in_the_source_names_the_source(tmp_path):
    kspace = random_kspace(4, 7, 9)
    kspace[3, 0, 0] = np.inf
    scan = read_scan(make_file(tmp_path / "source.h5", kspace=kspace))
    assert "source.h5: slice 3" in complaint(lambda: write_scan(tmp_path / "new.h5", scan))
    assert names(tmp_path) == ["source.h5"]


@pytest.mark.parametrize("value", [{"a": 1}, object(), "nul\0inside", 10**40])
def test_an_attribute_that_hdf5_cannot_hold_is_named(tmp_path, value):
    message = complaint(lambda: write_scan(tmp_path / "a.h5", sample(attributes={"odd": value})))
    assert "'odd'" in message
    assert names(tmp_path) == []


def test_arrays_that_lie_about_their_shape_are_refused(tmp_path):
    class Lying:
        shape = (4, 3, 7, 9)

        def __getitem__(self, index):
            return np.zeros((1, 1, 1, 9), np.complex64)  # HDF5 would spread it over the slice

    scan = Scan(name="a.h5", kspace=Lying(), n_coils_stored=3)
    assert "(1, 3, 7, 9)" in complaint(lambda: write_scan(tmp_path / "a.h5", scan))


# --- reconstructions ------------------------------------------------------------------------------------


def test_a_reconstruction_reads_as_it_was_written(tmp_path):
    images = np.random.default_rng(0).random((3, 5, 4))
    path = tmp_path / "file1.h5"
    write_reconstruction(path, images, attributes={"method": "cs", "tv_weight": 0.01})
    read = read_reconstruction(path)
    assert read.dtype == np.float32
    assert np.array_equal(read, images.astype(np.float32))
    with h5py.File(path) as file:
        assert list(file) == ["reconstruction"]
        assert dict(file.attrs) == {"method": "cs", "tv_weight": 0.01}
    assert "output file" in complaint(lambda: read_scan(path))


def test_a_reconstruction_written_in_parts_equals_one_written_at_once(tmp_path):
    images = np.random.default_rng(0).random((5, 6, 4), np.float32)
    with ReconstructionWriter(tmp_path / "a.h5", (5, 6, 4)) as writer:
        writer.write(slice(3, 5), images[3:])
        writer.write(slice(0, 3), images[:3])
        assert not (tmp_path / "a.h5").exists()
    assert np.array_equal(read_reconstruction(tmp_path / "a.h5"), images)


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_an_interrupted_reconstruction_leaves_what_was_there(tmp_path, failure):
    path = tmp_path / "a.h5"
    write_reconstruction(path, np.ones((2, 4, 4)))

    def act():
        with ReconstructionWriter(path, (2, 4, 4), overwrite=True) as writer:
            writer.write(slice(0, 1), np.zeros((1, 4, 4)))
            raise failure

    with pytest.raises(failure):
        act()
    assert (read_reconstruction(path) == 1).all()
    assert names(tmp_path) == ["a.h5"]


def test_slices_never_given_are_an_error(tmp_path):
    def act():
        with ReconstructionWriter(tmp_path / "a.h5", (4, 2, 2)) as writer:
            writer.write(slice(0, 4, 2), np.ones((2, 2, 2)))

    assert "2 of 4 slices were never given, the first is 1" in complaint(act)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.ones((4, 4)), "expected (slice, height, width)"),
        (np.ones((0, 4, 4)), "none of them zero"),
        (np.ones((1, 4, 4), "c8"), "Pass magnitudes"),
        (np.full((2, 4, 4), np.nan), "slice 0 of 'reconstruction' holds NaN"),
        (np.full((2, 4, 4), 1e300), "too large"),
    ],
)
def test_images_that_are_none_are_refused(tmp_path, images, words):
    message = complaint(lambda: write_reconstruction(tmp_path / "a.h5", images))
    assert words in message
    assert "a.h5" in message
    assert names(tmp_path) == []


def test_images_for_other_slices_are_refused(tmp_path):
    def act():
        with ReconstructionWriter(tmp_path / "a.h5", (4, 2, 2)) as writer:
            writer.write(slice(2, 4), np.ones((1, 2, 2)))  # numpy and HDF5 would repeat it

    assert "for 2 slices, expected real (2, 2, 2)" in complaint(act)


def test_a_folder_that_is_not_there(tmp_path):
    message = complaint(lambda: write_reconstruction(tmp_path / "no" / "a.h5", np.ones((1, 2, 2))))
    assert "folder does not exist" in message


# --- a full disk ----------------------------------------------------------------------------------------

LIMITED = """
import os, resource, signal, sys
import numpy as np
from mri_recon.data.scan import Scan
from mri_recon.data.storage import write_reconstruction, write_scan
from mri_recon.errors import OutputError

where, limit = sys.argv[1], int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
big = np.ones((20, 64, 64), np.float32)
for write in (
    lambda: write_reconstruction(where + "/a.h5", big, overwrite=True),
    lambda: write_scan(where + "/b.h5", Scan(name="b.h5", kspace=big[:, None] + 0j)),
    lambda: write_reconstruction(where + "/c.h5", big[:1, :8, :8], attributes={str(i): "x" * 9000 for i in range(30)}),
):
    try:
        write()
    except OutputError as error:
        print(error)
write_reconstruction(where + "/small.h5", big[:1, :4, :4])
print(*sorted(os.listdir(where)))
"""


def run_limited(where: Path, limit: int) -> list[str]:
    # HDF5 left to itself crashes the process here, some of the time only as it ends.
    command = [sys.executable, "-W", "error", "-c", LIMITED, str(where), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.skipif(os.name != "posix", reason="needs resource limits")
@pytest.mark.parametrize("limit", [20_000, 101_000, 200_000])
def test_a_limit_on_the_size_is_one_line_and_the_process_goes_on(tmp_path, limit):
    write_reconstruction(tmp_path / "a.h5", np.ones((1, 2, 2)))
    *errors, listing = run_limited(tmp_path, limit)
    assert [e for e in errors if "larger than allowed" in e] == errors
    assert [Path(e.split(":")[0]).name for e in errors] == ["a.h5", "b.h5", "c.h5"]
    assert listing == "a.h5 small.h5"
    assert read_reconstruction(tmp_path / "a.h5").shape == (1, 2, 2)


def test_a_full_disk_is_one_line_and_the_process_goes_on(tmp_path):
    mounted = (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(tmp_path)],
            capture_output=True,
            text=True,
        )
        if Path("/bin/mount").exists()
        else None
    )
    if mounted is None or mounted.returncode:
        pytest.skip("cannot mount a small disk here")
    try:
        *errors, listing = run_limited(tmp_path, 0)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert len(errors) == 3
    assert all("the disk is full. Free some space" in e for e in errors)
    assert listing == "small.h5"


def test_ctrl_c_inside_a_write_reaches_the_caller_and_not_hdf5(tmp_path, monkeypatch):
    class Interrupted(FileIO):
        def write(self, buffer):
            if len(memoryview(buffer)) >= 1024:
                raise KeyboardInterrupt
            return super().write(buffer)

    # The sink's own `write` calls the next in line, as it calls that of FileIO.
    sink = type("Sink", (new_hdf5.Sink, Interrupted), {})
    monkeypatch.setattr(new_hdf5, "Sink", sink)
    with pytest.raises(KeyboardInterrupt):
        write_reconstruction(tmp_path / "a.h5", np.ones((4, 32, 32)))
    assert names(tmp_path) == []
