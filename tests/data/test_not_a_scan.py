"""What is not a sound scan: one line that names the file, what is wrong and what to do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scan_files import make_file, random_kspace

from mri_recon.data.storage import read_reconstruction, read_scan
from mri_recon.errors import ScanError


def complaint(path: Path, read: Any = read_scan) -> str:
    with pytest.raises(ScanError) as error:
        read(path)
    message = str(error.value)
    assert path.name in message
    assert "\n" not in message
    return message


def test_missing_file_names_the_closest(tmp_path):
    make_file(tmp_path / "file1000001.h5", kspace=random_kspace(1, 2, 2))
    assert "Did you mean" in complaint(tmp_path / "file100001.h5")
    assert "no folder" in complaint(tmp_path / "nowhere" / "a.h5")
    (tmp_path / "link.h5").symlink_to(tmp_path / "gone.h5")
    assert "mend the link" in complaint(tmp_path / "link.h5")


def test_folder_text_empty_and_special_files(tmp_path):
    assert "Name a file in it" in complaint(tmp_path)
    (tmp_path / "text.h5").write_text("slice,coil\n1,2\n")
    assert "not an HDF5 file" in complaint(tmp_path / "text.h5")
    (tmp_path / "empty.h5").touch()
    assert "0 bytes" in complaint(tmp_path / "empty.h5")
    os.mkfifo(tmp_path / "pipe.h5")
    assert "regular file" in complaint(tmp_path / "pipe.h5")
    assert "cannot be opened" in complaint(tmp_path / "text.h5" / "below.h5")
    assert "cannot be opened" in complaint(tmp_path / ("x" * 300 + ".h5"))
    (tmp_path / "loop.h5").symlink_to(tmp_path / "loop.h5")
    assert "cannot be opened" in complaint(tmp_path / "loop.h5")


def test_no_permission(tmp_path, monkeypatch):
    path = make_file(tmp_path / "a.h5", kspace=random_kspace(1, 2, 2))
    path.chmod(0)
    if os.geteuid() == 0:  # whom chmod does not stop

        def refuse(self, *args):
            raise PermissionError(13, "Permission denied", str(self))

        monkeypatch.setattr(Path, "open", refuse)
    assert "Permission denied. Check" in complaint(path)


def test_a_control_character_in_a_name_cannot_break_the_line(tmp_path):
    path = tmp_path / "a\n\x1b[31m.h5"
    with pytest.raises(ScanError, match=r"does not exist") as error:
        read_scan(path)
    assert str(error.value).isprintable()


def test_truncated_at_any_length(tmp_path):
    whole = make_file(tmp_path / "whole.h5", kspace=random_kspace(2, 3, 8, 8)).read_bytes()
    path = tmp_path / "part.h5"
    for length in range(1, len(whole), 97):
        path.write_bytes(whole[:length])
        message = complaint(path)
        assert "truncated" in message or "not an HDF5 file" in message
    path.write_bytes(whole[:-500])
    assert f"{len(whole) - 500} bytes of {len(whole)}" in complaint(path)


def test_without_kspace_the_message_lists_what_there_is(tmp_path):
    message = complaint(make_file(tmp_path / "a.h5", reconstruction=np.ones((1, 2, 2)), mask=np.ones(2)))
    assert "'mask', 'reconstruction'" in message
    assert "output file" in message
    assert "it has nothing" in complaint(make_file(tmp_path / "b.h5"))
    assert "'kSpace', rename it" in complaint(make_file(tmp_path / "c.h5", kSpace=random_kspace(1, 2, 2)))
    many = {f"set{i:02d}": 1 for i in range(30)}
    assert "and 22 more" in complaint(make_file(tmp_path / "d.h5", **many))


def test_raw_ismrmrd_is_recognised(tmp_path):
    path = make_file(tmp_path / "a.h5", **{"dataset/xml": b"<ismrmrdHeader/>", "dataset/data": np.ones(3)})
    message = complaint(path)
    assert "raw ISMRMRD" in message
    assert "dataset/data" in message


@pytest.mark.parametrize(
    ("kspace", "words"),
    [
        (np.ones((4, 4), "c8"), ["(4, 4)", "kspace[None]"]),
        (np.ones((1, 1, 1, 4, 4), "c8"), ["5 axes", "(slice, coil, height, width)"]),
        (np.ones(4, "c8"), ["1 axes"]),
        (np.complex64(1), ["0 axes"]),
        (np.ones((0, 4, 4), "c8"), ["(0, 4, 4)", "nothing"]),
        (np.ones((2, 3, 0, 4), "c8"), ["(2, 3, 0, 4)", "nothing"]),
        (np.ones((2, 4, 4), "f4"), ["float32", "real + 1j * imaginary"]),
        (np.ones((2, 4, 4, 2), "f4"), ["float32", "kspace[..., 0] + 1j * kspace[..., 1]"]),
        (np.ones((2, 4, 4), "f2"), ["float16"]),
        (np.ones((2, 4, 4), "i2"), ["int16"]),
        (np.float32(1), ["float32"]),
        (np.zeros((2, 4, 4), [("r", "f2"), ("i", "f2")]), ["float16", "<f2"]),
        (np.zeros((2, 4, 4), [("real", "i4"), ("imag", "i4")]), ["<i4"]),
        (np.zeros((2, 4, 4), [("a", "f4"), ("b", "f4")]), ["expected complex64"]),
        (b"text", ["expected complex64"]),
        (h5py.Empty("c8"), ["empty"]),
    ],
)
def test_kspace_of_the_wrong_kind(tmp_path, kspace, words):
    message = complaint(make_file(tmp_path / "a.h5", kspace=kspace))
    assert any(word in message for word in words)
    assert "'kspace'" in message


def test_kspace_that_was_never_written(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("kspace", (2, 3, 8, 8), "c8")
    assert "never written" in complaint(tmp_path / "a.h5")


def test_a_group_or_type_named_kspace(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("kspace")
    assert "is a group" in complaint(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["kspace"] = np.dtype("c8")
    assert "is a data type" in complaint(tmp_path / "b.h5")


@pytest.fixture
def secret(tmp_path, monkeypatch):
    """Another file that a scan must not make the program open."""
    make_file(tmp_path / "secret.h5", kspace=random_kspace(1, 4, 4), mask=np.ones(4))
    opened = []
    monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda self, *a: opened.append(self.name))
    yield tmp_path / "secret.h5"
    assert opened == []


@pytest.mark.parametrize("how", ["link", "soft", "group", "raw", "virtual"])
def test_kspace_kept_in_another_file_is_refused(tmp_path, secret, how):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        if how == "link":
            file["kspace"] = h5py.ExternalLink(secret.name, "/kspace")
        elif how == "soft":
            file["kspace"], file["hop"] = h5py.SoftLink("/hop"), h5py.ExternalLink(secret.name, "/kspace")
        elif how == "group":
            file["kspace"], file["hop"] = h5py.SoftLink("/hop/kspace"), h5py.ExternalLink(secret.name, "/")
        elif how == "raw":
            file.create_dataset("kspace", (1, 4, 4), "c8", external=[(str(secret), 0, 128)])
        else:
            layout = h5py.VirtualLayout((1, 4, 4), "c8")
            layout[:] = h5py.VirtualSource(str(secret), "kspace", (1, 4, 4))
            file.create_virtual_dataset("kspace", layout)
    message = complaint(path)
    assert "another file" in message
    assert "h5repack" in message


def test_a_mask_kept_in_another_file_is_refused_and_a_target_left_out(tmp_path, secret):
    path = make_file(tmp_path / "a.h5", kspace=random_kspace(1, 4, 4))
    with h5py.File(path, "a") as file:
        file["reconstruction_esc"] = h5py.ExternalLink(secret.name, "/kspace")
    scan = read_scan(path)
    assert scan.target is None
    assert "another file" in scan.notes[0]
    with h5py.File(path, "a") as file:
        file["mask"] = h5py.ExternalLink(secret.name, "/mask")
    assert "another file" in complaint(path)


def test_links_inside_the_file_are_followed_but_not_round_in_circles(tmp_path):
    kspace = random_kspace(1, 4, 4)
    path = make_file(tmp_path / "a.h5", **{"group/data": kspace})
    with h5py.File(path, "a") as file:
        file["kspace"], file["group/hop"] = h5py.SoftLink("group/hop"), h5py.SoftLink("data")
    assert np.array_equal(read_scan(path).kspace[:], kspace[:, None])
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["kspace"], file["other"] = h5py.SoftLink("/other"), h5py.SoftLink("/kspace")
    assert "loop of links" in complaint(tmp_path / "b.h5")
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["kspace"] = h5py.SoftLink("/gone")
    assert "no data set 'kspace'" in complaint(tmp_path / "c.h5")


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.ones(6, bool), "(6,), expected (5,)"),
        (np.ones((6, 5), bool), "(6, 5), expected (5,)"),
        (np.zeros(5, bool), "none of 5 columns"),
        (np.array([1, np.nan, 1, 1, 1]), "finite"),
        (np.array([b"a"] * 5), "expected booleans"),
        (np.ones(5, "c8"), "expected booleans"),
    ],
)
def test_a_wrong_mask_is_an_error(tmp_path, mask, words):
    message = complaint(make_file(tmp_path / "a.h5", kspace=random_kspace(2, 6, 5), mask=mask))
    assert words in message
    assert "'mask'" in message


# --- damage that shows when a slice is read


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300, complex(0, np.nan)])
def test_a_slice_with_a_number_that_is_none_is_named(tmp_path, bad):
    kspace = random_kspace(3, 2, 4, 4).astype(np.complex128)
    kspace[1, 1, 2, 3] = bad
    path = make_file(tmp_path / "a.h5", kspace=kspace)
    scan = read_scan(path)
    assert scan.kspace[:1].shape == scan.kspace[2:].shape == (1, 2, 4, 4)
    message = complaint(path, lambda _: scan.kspace[:])
    assert "slice 1 of 'kspace'" in message
    assert "NaN" in message


def test_a_broken_chunk_is_named(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset(
            "kspace", data=random_kspace(3, 8, 8), chunks=(1, 8, 8), compression="gzip", fletcher32=True
        )
        offset = data.id.get_chunk_info(2).byte_offset
    raw = bytearray(path.read_bytes())
    raw[offset + 20] ^= 0xFF
    path.write_bytes(raw)
    scan = read_scan(path)
    assert np.isfinite(scan.kspace[:2]).all()
    message = complaint(path, lambda _: scan.kspace[:])
    assert "slice 2 of 'kspace'" in message
    assert "damaged" in message


def test_a_file_that_changes_or_goes_meanwhile(tmp_path):
    path = make_file(tmp_path / "a.h5", kspace=random_kspace(3, 8, 8))
    scan = read_scan(path)
    make_file(path, kspace=random_kspace(3, 8, 9))
    assert "has changed" in complaint(path, lambda _: scan.kspace[:])
    path.unlink()
    assert "does not exist" in complaint(path, lambda _: scan.kspace[:])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"kspace": random_kspace(1, 4, 4)}, "no data set 'reconstruction', it has 'kspace'"),
        ({"reconstruction": np.ones((4, 4))}, "(slice, height, width)"),
        ({"reconstruction": np.ones((0, 4, 4))}, "none of them zero"),
        ({"reconstruction": random_kspace(1, 4, 4)}, "expected real magnitudes"),
        ({"reconstruction": np.array([[[1, np.nan]]])}, "slice 0 of 'reconstruction'"),
    ],
)
def test_what_is_not_a_reconstruction(tmp_path, data, words):
    assert words in complaint(make_file(tmp_path / "a.h5", **data), read_reconstruction)
