"""Bad files of the other formats: NumPy, MATLAB, BART, Siemens, NIfTI and pictures."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from bad_inputs import Corpus, cut, flipped


class Runs:
    """Pickled, it writes a file `ran` where it is unpickled: the proof that a file's code was run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return exec, (f"open({str(self.folder / 'ran')!r}, 'w').close()",)


def write(corpus: Corpus) -> None:
    """Write every kind of bad array and image."""
    rng = corpus.generator("arrays")
    kspace = (rng.standard_normal((2, 3, 24, 20)) + 1j * rng.standard_normal((2, 3, 24, 20))).astype("c8")
    _npy(corpus, kspace)
    _archives(corpus, kspace)
    _cfl(corpus, kspace)
    _twix(corpus)
    _volumes(corpus)


def _npy(corpus: Corpus, kspace: np.ndarray) -> None:
    rng, buffer = corpus.generator("npy"), io.BytesIO()
    np.save(buffer, kspace)
    whole = buffer.getvalue()

    def claiming(header: str) -> bytes:
        text = header.encode().ljust(117) + b"\n"
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(64)

    for content in (
        claiming("{'descr': '<c8', 'fortran_order': False, 'shape': (100000, 100, 1000, 1000), }"),
        claiming("{'descr': '<c8', 'fortran_order': False, 'shape': (2, -3, 24, 20), }"),
        claiming("{'descr': '<c8', 'fortran_order': False, 'shape': (4611686018427387904, 4, 4, 4), }"),
        claiming("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"),
        claiming("{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1,), }"),
        claiming("__import__('os').system('true')"),
        claiming("(" * 100),
        b"\x93NUMPY\x09\x00" + whole[8:],
        b"\x93NUMPY",
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(100),
    ):
        corpus.new("npy", ".npy").write_bytes(content)
    with corpus.new("npy", ".npy").open("wb") as file:
        np.save(file, np.array([Runs(corpus.folder)], dtype=object), allow_pickle=True)
    for array in (kspace.real, kspace[0, 0, 0], np.zeros((0, 4), "c8"), np.array("text"), np.complex64(1)):
        np.save(corpus.new("npy", ".npy"), array)
    for number in (np.nan, np.inf):
        np.save(corpus.new("npy", ".npy"), np.where(kspace == kspace[1, 1, 1, 1], number, kspace))
    for _ in range(6):
        corpus.new("truncated npy", ".npy").write_bytes(cut(whole, rng))
        corpus.new("bits flipped npy", ".npy", "either").write_bytes(flipped(whole[:128], rng) + whole[128:])
    width = 20
    for mask in (
        np.zeros(width),
        np.full(width, 1j),
        np.ones(width - 1),
        np.ones((4, 5)),
        np.array([None] * width),
    ):
        with corpus.new("mask file", ".npy", role="mask").open("wb") as file:
            np.save(file, mask, allow_pickle=True)
    corpus.new("mask file", ".npy", role="mask").write_bytes(
        claiming("{'descr': '|b1', 'fortran_order': False, 'shape': (10000000000000,), }")
    )
    corpus.new("mask file", ".npy", role="mask").write_bytes(b"not NumPy")
    corpus.new("mask file", ".npy", role="mask").write_bytes(pickle.dumps(Runs(corpus.folder)))
    for maps in (np.ones((1, 3, 24, 21), "c8"), np.ones((24, 20), "c8"), np.full((1, 3, 24, 20), np.nan, "c8"),
                 np.zeros((0, 3, 24, 20), "c8"), np.array([Runs(corpus.folder)], dtype=object)):  # fmt: skip
        with corpus.new("coil maps", ".npy", role="smaps").open("wb") as file:
            np.save(file, maps, allow_pickle=True)


def _archives(corpus: Corpus, kspace: np.ndarray) -> None:
    from scipy.io import savemat

    rng = corpus.generator("archives")
    for kind, save in (("npz", np.savez), ("mat", lambda file, **data: savemat(file, data))):
        buffer = io.BytesIO()
        save(buffer, kspace=kspace, target=np.abs(kspace[:, 0]))
        whole = buffer.getvalue()
        for _ in range(4):
            corpus.new(f"truncated {kind}", f".{kind}").write_bytes(cut(whole[: len(whole) - 100], rng))
        for _ in range(8):
            start = flipped(whole[:400], rng) + whole[400:]
            corpus.new(f"bits flipped {kind}", f".{kind}", "either").write_bytes(start)
        save(str(corpus.new(kind, f".{kind}")), a=kspace, b=kspace)
        save(str(corpus.new(kind, f".{kind}")), a=np.ones(3))
    np.savez(corpus.new("npz", ".npz"), kspace=np.array([Runs(corpus.folder)], dtype=object))
    with zipfile.ZipFile(corpus.new("npz", ".npz"), "w") as archive:
        archive.writestr("../../outside.npy", b"text")
    with (
        zipfile.ZipFile(corpus.new("npz", ".npz"), "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("kspace.npy", "w", force_zip64=True) as file,
    ):  # 4 GiB of zeros in 4 MB
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<c8", "fortran_order": False, "shape": (4, 8, 4096, 4096)}
        )
        file.write(bytes(2**24))
    savemat(corpus.new("mat", ".mat"), {"kspace": "text", "b": {"c": 1}})
    corpus.new("mat", ".mat").write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + b"\xff" * 64)
    corpus.new("mat", ".mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(512) + b"no HDF5")
    size = struct.pack("<II", 14, 2**31 - 8)
    corpus.new("mat", ".mat").write_bytes(
        b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + size + bytes(64)
    )


def _cfl(corpus: Corpus, kspace: np.ndarray) -> None:
    content = np.ascontiguousarray(kspace[0].transpose(0, 2, 1)).tobytes()

    def pair(header: str | bytes | None, data: bytes | None = content, expected: Any = "refused") -> None:
        path = corpus.new("cfl", ".cfl", expected, evaluate="refused")  # it has no target
        if data is not None:
            path.write_bytes(data)
        if header is not None:
            path.with_suffix(".hdr").write_bytes(header if isinstance(header, bytes) else header.encode())

    for dims in ("24 20 1 3", "24 20 1 3 1 1 1 1 1 1 1 1 1 1 1 1 1 1"):
        pair(f"# Dimensions\n{dims}\n", expected="accepted")
    for dims in (
        "24 20 1 4", "0 20 1 3", "-24 -20 1 3", "24 20 3 1", "100000 100000 1 100", "9" * 5000, "1e3 2", "",
        "24.0 20 1 3",
        " ".join(["65536"] * 16), "24 20 1 1 1 3 1 1 1 1 1 1 1 1 1 1", "४ 20",
    ):  # fmt: skip
        expected = "either" if dims.startswith("24 20 1 1 1 3") else "refused"
        pair(f"# Dimensions\n{dims}\n", expected=expected)
    pair("")
    pair(None)
    pair(b"# Dimensions\n\xff\xfe\n")
    pair("# Dimensions\n24 20 1 3\n", content[:-1])
    pair("# Dimensions\n24 20 1 3\n", b"")
    nan = np.full(kspace[0].shape, np.nan, "c8").tobytes()
    pair("# Dimensions\n24 20 1 3\n", nan)
    pair("x" * 10**6 + "\n# Dimensions\n24 20 1 3\n", expected="either")


def _twix(corpus: Corpus) -> None:
    rng = corpus.generator("twix")

    def newer(n_measurements: int, offset: int, length: int, body: bytes) -> bytes:
        entry = struct.pack("<IIQQ", 1, 1, offset, length) + bytes(128)
        return (struct.pack("<II", 0, n_measurements) + entry).ljust(10240, b"\x00") + body

    sections = (
        struct.pack("<II", 64, 1) + b"Meas\x00" + struct.pack("<I", 40) + b"<XProtocol>{}\x00".ljust(51, b" ")
    )
    for content in (
        newer(1, 10240, 100, sections),
        newer(1, 10240, 2**60, sections + b"\xff" * 4096),
        newer(1, 512, 100, sections),
        newer(64, 10240, 100, sections + bytes(512)),
        newer(1, 10240, 100, struct.pack("<II", 2**31, 2**31) + bytes(512)),
        newer(1, 10240, 100, struct.pack("<II", 64, 10**9) + bytes(512)),
        struct.pack("<II", 64, 1) + b"Meas\x00" + struct.pack("<I", 2**31) + bytes(100),
        struct.pack("<II", 2**31, 1) + b"Config\x00" + bytes(100),
        struct.pack("<II", 64, 2) + b"Meas\x00" + b"\xff" * 4096,
    ):
        corpus.new("twix", ".dat").write_bytes(content)
    for _ in range(5):
        noise = rng.integers(0, 256, 20000, dtype=np.uint8).tobytes()
        corpus.new("twix", ".dat").write_bytes(newer(1, 10240, 20000, sections + noise))


def _volumes(corpus: Corpus) -> None:
    """What `simulate --from` and `convert` take for images."""
    import nibabel

    rng = corpus.generator("volumes")
    pixels = rng.random((24, 20, 3)).astype("f4")
    buffer = corpus.folder / "whole.nii"
    nibabel.save(nibabel.Nifti1Image(pixels, np.eye(4)), buffer)
    whole = buffer.read_bytes()
    buffer.unlink()

    def changed(place: int, kind: str, *values: Any) -> bytes:
        new = struct.pack(f"<{kind}", *values)
        return whole[:place] + new + whole[place + len(new) :]

    for content in (
        changed(40, "8h", 3, 32767, 32767, 32767, 1, 1, 1, 1), changed(40, "8h", 7, *[32767] * 7), changed(40, "h", -3),
        changed(40, "8h", 3, 0, 20, 3, 1, 1, 1, 1), changed(40, "8h", 3, -24, 20, 3, 1, 1, 1, 1), changed(70, "h",
        9999),
        changed(108, "f", np.nan), changed(108, "f", 1e30), changed(108, "f", -500.0), changed(70, "h", 128),
        whole[:348], b"", whole[:352],
        whole[:352] + np.full(pixels.size, np.nan, "f4").tobytes(), whole[:352] + bytes(4 * pixels.size),
    ):  # fmt: skip
        zeros = {"convert": "either"} if content.endswith(bytes(4 * pixels.size)) else {}
        corpus.new("NIfTI", ".nii", role="volume", **zeros).write_bytes(content)
    for place, value in (
        (112, np.inf),
        (112, np.nan),
        (116, np.nan),
        (80, np.nan),
        (280, np.nan),
        (252, np.nan),
    ):
        corpus.new("NIfTI", ".nii", "either", role="volume").write_bytes(changed(place, "f", value))
    for _ in range(5):
        corpus.new("truncated NIfTI", ".nii", role="volume").write_bytes(cut(whole, rng))
        flips = flipped(whole[:352], rng) + whole[352:]
        corpus.new("bits flipped NIfTI", ".nii", "either", role="volume").write_bytes(flips)
    corpus.new("NIfTI", ".nii.gz", role="volume").write_bytes(b"\x1f\x8b\x08\x00" + bytes(100))
    corpus.new("NIfTI", ".nii.gz", role="volume").write_bytes(whole)
    for content in (
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"\x89PNG\r\n\x1a\n" + _png(65535, 65535),
        b"\x89PNG\r\n\x1a\n" + _png(0, 0),
        b"GIF89a",
    ):
        folder = corpus.new("pictures", "", role="volume")
        folder.mkdir()
        (folder / "slice_000.png").write_bytes(content)
    corpus.new("pictures", "", role="volume").mkdir()
    for content in (b"", bytes(128) + b"DICM", bytes(128) + b"DICM" + b"\xff" * 512, b"text"):
        folder = corpus.new("DICOM", "", role="images")
        folder.mkdir()
        (folder / "slice_000.dcm").write_bytes(content)


def _png(width: int, height: int) -> bytes:
    import zlib

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def lying_safetensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file whose header says what it is told to."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data
