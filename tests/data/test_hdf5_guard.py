"""What the HDF5 library would hang or crash on, or fill the memory with, is refused before it is let near."""

from __future__ import annotations

import time
import zlib

import h5py
import numpy as np
import pytest
from scan_files import make_file, random_kspace

from mri_recon.data.plausible import LARGE
from mri_recon.data.storage import read_scan
from mri_recon.errors import ScanError


def heap_places(content: bytes) -> list[int]:
    """Where the file's global heaps begin."""
    places, start = [], content.find(b"GCOL")
    while start >= 0:
        places.append(start)
        start = content.find(b"GCOL", start + 1)
    return places


@pytest.mark.parametrize("libver", [None, "latest"])
@pytest.mark.parametrize("size", [0x14, 0xFF, 2**40, 2**64 - 8])
def test_a_heap_object_of_a_wrong_length(tmp_path, libver, size):
    """The first two hung the library for ever, in a loop that nothing but a signal ends."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver=libver) as file:
        file["kspace"] = random_kspace(1, 4, 4)
        file.attrs["acquisition"] = "AXT1"
    content = bytearray(path.read_bytes())
    (heap,) = heap_places(content)
    assert read_scan(path).acquisition == "AXT1"
    content[heap + 24 : heap + 32] = size.to_bytes(8, "little")
    path.write_bytes(content)
    with pytest.raises(
        ScanError, match=r"a\.h5 is damaged: its heap of texts and lists at byte \d+ does not fit"
    ):
        read_scan(path)


def test_heaps_among_large_arrays_are_walked_and_arrays_are_not(tmp_path):
    path = tmp_path / "a.h5"
    kspace = random_kspace(1, 400, 400)
    kspace.view(np.uint8).reshape(-1)[800:816] = np.frombuffer(b"GCOL\x01\0\0\0" + b"\xff" * 8, np.uint8)
    kspace[~np.isfinite(kspace)] = 0
    make_file(path, {"acquisition": "AXT1"}, kspace=kspace)
    content = path.read_bytes()
    assert read_scan(path).acquisition == "AXT1"
    heap = max(place for place in heap_places(content) if content[place + 4] == 1)
    damaged = bytearray(content)
    damaged[heap + 8 : heap + 16] = (2**50).to_bytes(8, "little")
    path.write_bytes(damaged)
    with pytest.raises(ScanError, match=f"at byte {heap} does not fit"):
        read_scan(path)


def odd_float(bias: int) -> h5py.h5t.TypeFloatID:
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_ebias(bias)
    return kind


def test_floats_of_an_odd_layout(tmp_path):
    """h5py makes 16 bytes of some of 4, and wrote them where there was room for 4."""
    path = tmp_path / "a.h5"
    record = h5py.h5t.create(h5py.h5t.COMPOUND, 8)
    record.insert(b"r", 0, odd_float(127))
    record.insert(b"i", 4, odd_float(0x107F))
    with h5py.File(path, "w") as file:
        h5py.h5d.create(file.id, b"kspace", record, h5py.h5s.create_simple((1, 4, 4)))
    with pytest.raises(ScanError, match="'kspace' holds numbers that are not laid out as floats"):
        read_scan(path)


def test_an_attribute_of_an_odd_layout_is_left_out(tmp_path):
    path = make_file(tmp_path / "a.h5", kspace=random_kspace(1, 4, 4))
    with h5py.File(path, "a") as file:
        h5py.h5a.create(file.id, b"max", odd_float(0x107F), h5py.h5s.create(h5py.h5s.SCALAR))
    scan = read_scan(path)
    assert "max" not in scan.attributes
    assert scan.notes == ("Attribute 'max' was left out: it is not a text or a number.",)


def test_usual_types_are_taken(tmp_path):
    kspace = random_kspace(1, 4, 4)
    for number, dtype in enumerate(("<c8", ">c8", "<c16", [("r", ">f8"), ("i", ">f8")])):
        stored = np.zeros(kspace.shape, dtype)
        if stored.dtype.names:
            stored["r"], stored["i"] = kspace.real, kspace.imag
        else:
            stored[...] = kspace
        path = make_file(tmp_path / f"{number}.h5", {"n": np.int8(3)}, kspace=stored, mask=np.ones(4, bool))
        assert np.array_equal(read_scan(path).kspace[:], kspace[:, None])


@pytest.mark.parametrize("shape", [(1000, 5, 5000, 5000), (2**40, 1, 1, 1), (1, 1, 10**6, 10**5)])
def test_a_terabyte_declared_in_two_kilobytes(tmp_path, shape):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("kspace", shape, "c8", chunks=tuple(min(n, 4) for n in shape))
        data[(0,) * len(shape)] = 1
    with pytest.raises(ScanError, match=r"'kspace' declares .* of which \d+ are stored"):
        read_scan(path)


def test_a_compression_bomb(tmp_path):
    path = tmp_path / "a.h5"
    shape = (1, 1, 4096, 4096)
    with h5py.File(path, "w") as file:
        data = file.create_dataset("kspace", shape, "c8", chunks=shape, compression="gzip")
        data.id.write_direct_chunk((0,) * 4, zlib.compress(bytes(8 * 4096 * 4096), 1))
    assert path.stat().st_size < 2**20
    started = time.process_time()
    with pytest.raises(ScanError, match="made to fill the memory"):
        read_scan(path)
    assert time.process_time() - started < 1


def test_zeros_that_compress_well_are_no_bomb_while_they_are_few(tmp_path):
    kspace = np.zeros((1, 512, 512), "c8")
    kspace[0, 256, 256] = 1
    assert kspace.nbytes < LARGE
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("kspace", data=kspace, compression="gzip")
    assert np.array_equal(read_scan(path).kspace[:][:, 0], kspace)


def test_arrays_beyond_the_end_of_the_file(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["kspace"] = random_kspace(1, 4, 4)
    content = bytearray(path.read_bytes())
    # The layout message holds the array's size, once; a multiple of its type's is taken by the library.
    size = (8 * 16).to_bytes(8, "little")
    assert content.count(size) == 1
    place = content.index(size)
    content[place : place + 8] = (8 * 16 * 10**6).to_bytes(8, "little")
    path.write_bytes(content)
    with pytest.raises(ScanError, match=r"a\.h5"):
        read_scan(path).kspace[:]


def test_pieces_larger_than_what_they_hold(tmp_path):
    """Found by fuzzing: a chunk is unpacked whole, into as much memory as its sizes say."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset(
            "kspace", (1, 4, 4), "c8", maxshape=(None, 4, 4), chunks=(10**6, 4, 4), compression=1
        )
        data.id.write_direct_chunk((0, 0, 0), zlib.compress(random_kspace(1, 4, 4).tobytes()))
    with pytest.raises(ScanError, match="'kspace' is stored in pieces of 128000000 bytes"):
        read_scan(path)
