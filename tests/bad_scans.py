"""Bad scans: HDF5 in fastMRI's layout and ISMRMRD."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from bad_inputs import Corpus, cut, flipped

from mri_recon.data.formats.ismrmrd import Ismrmrd
from mri_recon.data.phantom import sample_scan
from mri_recon.data.scan import Scan
from mri_recon.data.storage import write_reconstruction, write_scan

HEIGHT, WIDTH = 24, 20
_TERABYTE = (1000, 5, 5000, 5000)
"""One of complex64."""


def good_scan() -> Scan:
    """The sound scan that all are made from: two slices, three coils."""
    return sample_scan(height=HEIGHT, width=WIDTH, n_slices=2, n_coils=3, noise=0.01, name="good.h5")


def write(corpus: Corpus) -> None:
    """Write every kind of bad scan."""
    scan = good_scan()
    write_scan(corpus.secret, scan, overwrite=True)
    _damaged(corpus, scan)
    _wrong_arrays(corpus, scan)
    _huge(corpus, scan)
    _elsewhere(corpus)
    _headers(corpus, scan)
    _attributes(corpus)
    _values(corpus, scan)
    _masks_and_targets(corpus, scan)
    _reconstructions(corpus, scan)


def _stored(path: Path, *, attributes: dict[str, Any] | None = None, **data: Any) -> None:
    with h5py.File(path, "w") as file:
        for name, value in data.items():
            if value is not None:
                file[name] = value
        file.attrs.update(attributes or {})


def _chunked(path: Path, scan: Scan, libver: str | None = None) -> None:
    with h5py.File(path, "w", libver=libver) as file:
        file.create_dataset(
            "kspace", data=scan.kspace[:], chunks=(1, 3, 12, 20), compression="gzip", shuffle=True
        )
        file.create_dataset(
            "reconstruction_rss", data=scan.target[:], chunks=(1, 8, 8), maxshape=(None, 24, 20)
        )
        file["ismrmrd_header"] = "<ismrmrdHeader/>"
        file.attrs.update({"acquisition": "AXT1", "max": 1.0, "patient_id": "someone"})


def _damaged(corpus: Corpus, scan: Scan) -> None:
    """Bits flipped and ends cut off; k-space is left out of most flips, as damage to it is mostly another number."""
    makers: dict[str, tuple[Callable[[Path], Any], str, int]] = {
        "fastMRI": (lambda path: write_scan(path, scan), ".h5", 70),
        "chunked": (lambda path: _chunked(path, scan), ".h5", 40),
        "newest HDF5": (lambda path: _chunked(path, scan, "latest"), ".h5", 20),
        "ISMRMRD": (lambda path: Ismrmrd.write_scan(path, scan, overwrite=False), ".mrd", 50),
    }
    for name, (make, suffix, n_flipped) in makers.items():
        whole = corpus.folder / f"whole{suffix}"
        make(whole)
        content = whole.read_bytes()
        whole.unlink()
        rng = corpus.generator(name)
        data = scan.kspace[:].tobytes()
        start = content.find(data)
        outside = content if start < 0 else content[:start] + content[start + len(data) :]
        for number in range(n_flipped):
            path = corpus.new(f"bits flipped {name}", suffix, "either")
            if number % 8 == 0:
                path.write_bytes(flipped(content, rng))
            else:
                damaged = flipped(outside, rng)
                path.write_bytes(damaged if start < 0 else damaged[:start] + data + damaged[start:])
        for _ in range(12):
            corpus.new(f"truncated {name}", suffix).write_bytes(cut(content, rng))


def _wrong_arrays(corpus: Corpus, scan: Scan) -> None:
    kspace = scan.kspace[:]
    for value in (
        kspace.real, kspace.real.astype("f2"), kspace.real.astype("i4"), np.stack([kspace.real, kspace.imag], -1),
        np.zeros(kspace.shape, "S3"), np.zeros(kspace.shape, "u1"), np.zeros(kspace.shape, bool), b"k-space", 3.0,
        np.zeros(kspace.shape, [("a", "f4"), ("b", "f4")]), np.zeros(kspace.shape, [("real", "i4"), ("imag", "i4")]),
        h5py.Empty("c8"), np.array(["text"], dtype=h5py.string_dtype()), np.dtype("c8"),
    ):  # fmt: skip
        _stored(corpus.new("wrong dtype", ".h5"), kspace=value)
    for value in (kspace[0, 0], kspace[0, 0, 0], kspace[0, 0, 0, 0], kspace[None], kspace[None, None]):
        _stored(corpus.new("wrong rank", ".h5"), kspace=value)
    for axis in range(4):
        shape = list(kspace.shape)
        shape[axis] = 0
        _stored(corpus.new("zero length", ".h5"), kspace=np.zeros(shape, "c8"))
    for shape in ((0, 4, 4), (0, 0, 0, 0)):
        _stored(corpus.new("zero length", ".h5"), kspace=np.zeros(shape, "c8"))
    _stored(corpus.new("nothing in it", ".h5"))
    _stored(corpus.new("nothing in it", ".h5"), **{"kspace/kspace": kspace})
    corpus.new("nothing in it", ".h5").touch()
    corpus.new("nothing in it", ".h5").write_text(
        "This is not HDF5, whatever its name says.\n", encoding="utf-8"
    )
    corpus.new("nothing in it", ".h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    corpus.new("nothing in it", ".h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(4096))
    corpus.new("nothing in it", ".h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\xff" * 4096)
    one = np.ones((1, 1, 1, 1), "c8")
    for shape in ((1, 1, 1, 1), (1, 1, 1, 20), (1, 1, 24, 1), (3, 1, 2, 2)):
        _stored(corpus.new("tiny", ".h5", "either"), kspace=np.broadcast_to(one, shape))


def _zeros_deflated(n_bytes: int) -> bytes:
    """What zlib makes of a number of zeros, a multiple of a MiB, without compressing them all."""
    packer = zlib.compressobj(9)
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    body = block[2:]  # after the two bytes of the header; each block stands by itself
    check = ((n_bytes % 65521) << 16) | 1
    return block[:2] + body * (n_bytes // 2**20) + b"\x03\x00" + check.to_bytes(4, "big")


def _bomb(path: Path, shape: tuple[int, ...], times: int) -> None:
    """One chunk that inflates to `shape` of complex64 zeros, deflated once or twice."""
    with h5py.File(path, "w") as file:
        space, made = h5py.h5s.create_simple(shape), h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        made.set_chunk(shape)
        for _ in range(times):
            made.set_deflate(9)
        data = h5py.h5d.create(
            file.id, b"kspace", h5py.h5t.py_create(np.dtype("c8"), logical=True), space, made
        )
        content = _zeros_deflated(8 * int(np.prod(shape)))
        for _ in range(times - 1):
            content = zlib.compress(content, 9)
        h5py.Dataset(data).id.write_direct_chunk((0,) * len(shape), content)


def _huge(corpus: Corpus, scan: Scan) -> None:
    kspace, kind = scan.kspace[:], "huge shape"
    for shape in (
        _TERABYTE,
        (1, 1, 10**6, 10**5),
        (10**9, 10, 10),
        (2**40, 1, 1, 1),
        (1, 2**20, 2**10, 2**10),
    ):
        with h5py.File(corpus.new(kind, ".h5"), "w") as file:
            data = file.create_dataset("kspace", shape, "c8", chunks=tuple(min(n, 8) for n in shape))
            data[(0,) * len(shape)] = 1
        with h5py.File(corpus.new(kind, ".h5"), "w") as file:
            file.create_dataset("kspace", shape, "c8")
    for name, shape, dtype in (
        ("mask", (10**12,), "?"), ("reconstruction_rss", _TERABYTE[1:], "f4"), ("ismrmrd_header", (10**12,), "u1"),
        ("sensitivity_maps", _TERABYTE, "c8"), ("truth", _TERABYTE[1:], "c8"),
    ):  # fmt: skip
        accepted = "refused" if name == "mask" else "accepted"
        evaluated = "refused" if name == "reconstruction_rss" else accepted
        path = corpus.new(kind, ".h5", accepted, evaluate=evaluated)
        _stored(
            path,
            kspace=kspace,
            **({} if name == "reconstruction_rss" else {"reconstruction_rss": scan.target[:]}),
        )
        with h5py.File(path, "a") as file:
            file.create_dataset(name, shape, dtype, chunks=tuple(min(n, 64) for n in shape))[
                (0,) * len(shape)
            ] = 1
    for n_rows in (10**7, 10**11):
        path = corpus.new(kind, ".mrd")
        Ismrmrd.write_scan(path, scan, overwrite=False)
        with h5py.File(path, "a") as file:
            kept = file["dataset/data"][:2]
            del file["dataset/data"]
            file.create_dataset("dataset/data", (n_rows,), kept.dtype, chunks=(64,))[:2] = kept
    for shape, times in (
        ((64, 1, 1024, 1024), 1),
        ((64, 1, 1024, 1024), 2),
        ((1, 1, 16384, 4096), 2),
        ((480, 1024, 1024), 2),
    ):
        _bomb(corpus.new("compression bomb", ".h5"), shape, times)


def _elsewhere(corpus: Corpus) -> None:
    secret, kind = str(corpus.secret.resolve()), "kept in another file"
    sound = good_scan()

    def file_of(expected: Any, **data: Any) -> h5py.File:
        path = corpus.new(kind, ".h5", expected, **({} if expected == "refused" else {"evaluate": "either"}))
        _stored(path, **data)
        return h5py.File(path, "a")

    for name in ("kspace", "mask", "reconstruction_rss", "ismrmrd_header", "sensitivity_maps"):
        own = {} if name == "kspace" else {"kspace": sound.kspace[:]}
        expected = "refused" if name in ("kspace", "mask") else "accepted"
        with file_of(expected, **own) as file:
            file[name] = h5py.ExternalLink(secret, "/kspace")
    for target in ("/", "/kspace"):
        with file_of("refused") as file:
            file["hop"] = h5py.ExternalLink(secret, target)
            file["kspace"] = h5py.SoftLink("/hop/kspace" if target == "/" else "/hop")
    n_bytes = sound.kspace[:].nbytes
    with file_of("refused") as file:
        file.create_dataset("kspace", sound.kspace.shape, "c8", external=[(secret, 0, n_bytes)])
    with file_of("refused") as file:
        file.create_dataset("kspace", sound.kspace.shape, "c8", external=[("/etc/passwd", 0, n_bytes)])
    with file_of("accepted", kspace=sound.kspace[:]) as file:
        file.create_dataset("reconstruction_rss", (2, 4, 4), "f4", external=[(secret, 0, 128)])
    for source in (secret, "secret/*.h5", "secret/secret.h5"):
        layout = h5py.VirtualLayout(sound.kspace.shape, "c8")
        layout[:] = h5py.VirtualSource(source, "kspace", sound.kspace.shape)
        with file_of("refused") as file:
            file.create_virtual_dataset("kspace", layout)
    for part in ("dataset", "dataset/xml", "dataset/data"):
        path = corpus.new(kind, ".mrd")
        Ismrmrd.write_scan(path, sound, overwrite=False)
        with h5py.File(path, "a") as file:
            del file[part]
            file[part] = h5py.ExternalLink(secret, "/kspace")
    for links in ({"kspace": "/kspace"}, {"kspace": "/a", "a": "/kspace"}, {"kspace": "g/kspace", "g": "/"},
                  {"kspace": "/".join(["."] * 20000)}, {"kspace": "gone"}):  # fmt: skip
        with h5py.File(corpus.new("loop of links", ".h5"), "w") as file:
            for name, target in links.items():
                file[name] = h5py.SoftLink(target)
    path = corpus.new("loop of links", ".h5", "accepted", evaluate="refused")
    _stored(path, kspace=sound.kspace[:])
    with h5py.File(path, "a") as file:
        file["again"] = file["/"]  # a hard link to the group that it is in
        file["reconstruction_rss"] = h5py.SoftLink("/again/again/reconstruction_rss")


def _laughs(levels: int) -> str:
    entities = ['<!ENTITY l0 "lol">']
    entities += [f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, levels)]
    return f"<!DOCTYPE x [{''.join(entities)}]><ismrmrdHeader>&l{levels - 1};</ismrmrdHeader>"


def _headers(corpus: Corpus, scan: Scan) -> None:
    space = "<matrixSize><x>{}</x><y>{}</y><z>1</z></matrixSize>"
    space += "<fieldOfView_mm><x>{}</x><y>1</y><z>1</z></fieldOfView_mm>"
    whole = "<ismrmrdHeader><encoding><encodedSpace>{}</encodedSpace><reconSpace>{}</reconSpace><trajectory>cartesian"
    whole += "</trajectory></encoding></ismrmrdHeader>"
    secret = corpus.secret.resolve().as_uri()
    texts: list[Any] = [
        _laughs(10), _laughs(3), f'<!DOCTYPE x SYSTEM "{secret}"><ismrmrdHeader/>',
        f'<!DOCTYPE x [<!ENTITY e SYSTEM "{secret}">]><ismrmrdHeader>&e;</ismrmrdHeader>',
        f'<!DOCTYPE x [<!ENTITY % p SYSTEM "{secret}"> %p;]><ismrmrdHeader/>', "<ismrmrdHeader>", "", "\x00", "not XML",
        "<a>" * 20000 + "</a>" * 20000, "<a " + " ".join(f'b{i}="1"' for i in range(20000)) + "/>",
        "<a>" + "x" * 2**20 + "</a>",
        whole.format(space.format("9" * 400, 20, 1), space.format(24, 20, 1)),
        whole.format(space.format("1e308", "1e308", "1e308"), space.format("inf", "nan", "-inf")),
        whole.format(space.format(-1, 0, -5), space.format("0x10", "२०", "1")),
        whole.format(space.format(24, 20, 1), space.format(10**8, 10**8, 1)),
        whole.format(space.format(65536, 65536, 1), space.format(1, 1, 1)),
        b"\xff\xfe<\x00a\x00/\x00>\x00", b"<ismrmrdHeader>\xff\xc0\x80</ismrmrdHeader>",
        b'<?xml version="1.0" encoding="utf-7"?><ismrmrdHeader/>', b'<?xml version="1.0" encoding="no-such"?><a/>',
        '<?xml version="1.0" encoding="UTF-16"?>' + _laughs(10),
    ]  # fmt: skip
    for text in texts:
        value = np.bytes_(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
        value = value if value else h5py.Empty("S1")
        path = corpus.new("header", ".h5", "accepted")
        _stored(path, kspace=scan.kspace[:], reconstruction_rss=scan.target[:], ismrmrd_header=value)
        path = corpus.new("header", ".mrd", "either")
        Ismrmrd.write_scan(path, scan, overwrite=False)
        with h5py.File(path, "a") as file:
            del file["dataset/xml"]
            file["dataset/xml"] = value if isinstance(value, h5py.Empty) else np.array([value])


def _attributes(corpus: Corpus) -> None:
    sound = good_scan()
    for name, value in (
        ("acquisition", np.bytes_(b"\xff\xfe\xc0")), ("acquisition", "\ud800".encode("utf-8", "surrogatepass")),
        ("acquisition", "a\nb\x1b[31m\x07"), ("patient_id", np.arange(7000)), ("max", np.nan), ("max", "a" * 60000),
        ("patient_id", h5py.Empty("f8")), ("nul\x1b", 1), ("acquisition", np.zeros((3, 3))),
        ("slice_positions_mm", [np.nan] * 6), ("data_crime", np.inf), ("slice_orientation", "x"),
    ):  # fmt: skip
        path = corpus.new("attribute", ".h5", "accepted")
        write_scan(path, sound)
        with h5py.File(path, "a") as file:
            if isinstance(value, bytes):
                text = h5py.h5t.C_S1.copy()
                text.set_size(len(value))
                text.set_cset(h5py.h5t.CSET_UTF8)
                space = h5py.h5s.create(h5py.h5s.SCALAR)
                if name in file.attrs:
                    del file.attrs[name]
                h5py.h5a.create(file.id, name.encode(), text, space).write(np.array(value), mtype=text)
            else:
                file.attrs[name] = value
    path = corpus.new("attribute", ".h5", "accepted")
    write_scan(path, sound)
    with h5py.File(path, "a") as file:
        h5py.h5a.create(file.id, b"\xff\xfe", h5py.h5t.NATIVE_INT32, h5py.h5s.create(h5py.h5s.SCALAR)).write(
            np.array(1, "i4")
        )


def _values(corpus: Corpus, scan: Scan) -> None:
    def with_kspace(kind: str, kspace: Any, expected: Any = "refused", **exceptions: Any) -> None:
        path = corpus.new(kind, ".h5", expected, **exceptions)
        _stored(path, kspace=kspace, reconstruction_rss=scan.target[:])

    for number in (np.nan, np.inf, -np.inf, complex(0, np.nan), complex(np.inf, np.nan)):
        for where in ((1, 0, 0, 0), (1, 2, 12, 10)):
            kspace = scan.kspace[:].copy()
            kspace[where] = number
            with_kspace("not finite", kspace)
    with_kspace("not finite", scan.kspace[:].astype("c16") * 1e300)
    with_kspace("not finite", np.full_like(scan.kspace[:], np.nan))
    largest = np.abs(scan.kspace[:]).max()
    for scale in (1e-44, 1e-40, 1e-38, 1e-30, 1e25, 1e37, 3e38):
        expected = "accepted" if 1e-38 < scale < 1e18 else "either"
        with_kspace(
            "tiny or large numbers", (scan.kspace[:] / largest * np.float64(scale)).astype("c8"), expected
        )
    with_kspace("all zero", np.zeros_like(scan.kspace[:]), convert="accepted")
    with_kspace("all zero", -np.zeros_like(scan.kspace[:]), convert="accepted")
    one_slice = scan.kspace[:].copy()
    one_slice[0] = 0
    with_kspace("a slice of zeros", one_slice, "accepted")
    for dead in ([0], [1, 2]):
        kspace = scan.kspace[:].copy()
        kspace[:, dead] = 0
        with_kspace("dead coil", kspace, "accepted")
    single = np.zeros_like(scan.kspace[:])
    single[:, :, 12, 10] = 1
    with_kspace("one sample", single, "accepted")
    with_kspace("constant", np.ones_like(single), "accepted")


def _masks_and_targets(corpus: Corpus, scan: Scan) -> None:
    kspace, target = scan.kspace[:], scan.target[:]
    none, corner = np.zeros(WIDTH, bool), np.zeros(WIDTH, bool)
    corner[[0, 3, -1]] = True
    for mask in (none, none[:0], none[:-1], np.ones((WIDTH, WIDTH)), np.full(WIDTH, np.nan), np.array([b"x"] * WIDTH),
                 np.ones(WIDTH, "c8"), h5py.Empty("?")):  # fmt: skip
        _stored(corpus.new("mask", ".h5"), kspace=kspace, reconstruction_rss=target, mask=mask)
    for mask in (corner, np.ones(WIDTH), np.full(WIDTH, -7), np.full((1, 1, WIDTH, 1), 1e300)):
        _stored(corpus.new("mask", ".h5", "accepted"), kspace=kspace, reconstruction_rss=target, mask=mask)
    for other in (
        target[:1], target[:, :0], np.pad(target, ((0, 0), (9, 9), (9, 9))), target[0], target[None], target + 1j,
        np.zeros((2, 1, 1), "f4"), np.full_like(target, np.nan), np.full_like(target, np.inf), np.zeros_like(target),
        -target, np.zeros(target.shape, "S1"), np.float32(1), h5py.Empty("f4"),
    ):  # fmt: skip
        path = corpus.new("target", ".h5", "accepted", evaluate="either", check="either")
        _stored(path, kspace=kspace, reconstruction_rss=other)


def _reconstructions(corpus: Corpus, scan: Scan) -> None:
    """Images made elsewhere, to be scored against the sound scan; each lies in a folder of its own."""
    target = scan.target[:]

    def new(expected: Any = "refused") -> Path:
        folder = corpus.new("reconstruction", "", expected, role="reconstructions")
        folder.mkdir()
        return folder / corpus.secret.name

    for images in (target[0], target[:1], target[:, :5], target + 1j, np.zeros((0, 24, 20)), np.full_like(target,
    np.nan),
                   np.full_like(target, np.inf), np.zeros(target.shape, "S2"), np.full(target.shape,
                   1e300)):  # fmt: skip
        _stored(new(), reconstruction=images)
    _stored(new("either"), reconstruction=np.zeros_like(target))
    _stored(new(), kspace=scan.kspace[:])
    with h5py.File(new(), "w") as file:
        file.create_dataset("reconstruction", _TERABYTE[1:], "f4", chunks=(1, 64, 64))[0, 0, 0] = 1
    with h5py.File(new(), "w") as file:
        file["reconstruction"] = h5py.ExternalLink(str(corpus.secret.resolve()), "/reconstruction_rss")
    rng, whole = corpus.generator("reconstruction"), corpus.folder / "whole.h5"
    write_reconstruction(whole, target)
    content = whole.read_bytes()
    whole.unlink()
    for _ in range(4):
        new().write_bytes(cut(content, rng))
        new("either").write_bytes(flipped(content, rng))
