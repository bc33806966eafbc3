"""Plain arrays of k-space: NumPy's .npy and .npz, MATLAB's .mat. What their axes mean, the user says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mri_recon.data.formats.base import AXES, Format, ReadOptions, WriteOptions, lost
from mri_recon.data.images import Images
from mri_recon.data.numpy_files import NUMPY_ERRORS, load_array
from mri_recon.data.plausible import implausible
from mri_recon.data.scan import Scan
from mri_recon.errors import OutputError, ScanError, SettingsError
from mri_recon.files import atomic_output, one_line

_COMPANIONS = {"mask": "mask", "target": "target", "sensitivity_maps": "smaps", "truth": "truth"}
"""Names in an archive, and the field of a scan that they are."""


@dataclass(frozen=True)
class ArraySlices:
    """An array as slices of complex64 or float32, refusing what is not finite."""

    name: str
    array: NDArray[Any]
    dtype: Any = np.complex64

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole volume."""
        return tuple(self.array.shape)

    def __len__(self) -> int:
        return len(self.array)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)

    def __getitem__(self, index: slice, /) -> NDArray[Any]:
        with np.errstate(over="ignore", invalid="ignore"):
            out = np.array(self.array[index], dtype=self.dtype, order="C")
        bad = ~np.isfinite(out).reshape(len(out), -1).all(axis=1)
        if bad.any():
            number = range(len(self.array))[index][int(np.argmax(bad))]
            raise ScanError(
                f"{self.name}: slice {number} holds NaN, Inf or numbers too large for single precision. Export it "
                "again, or leave that slice out."
            )
        return out


class _Arrays(Format):
    """What the three have in common: named arrays in, a scan out."""

    @classmethod
    def _load(cls, path: Path) -> Mapping[str, NDArray[Any]]:
        raise NotImplementedError

    @classmethod
    def read_scans(cls, path: Path, options: ReadOptions) -> tuple[Scan, ...]:
        arrays = cls._load(path)
        variable = _variable(path, arrays, options.variable)
        stored = arrays[variable]
        kspace = _arranged(path, variable, stored, options.axes)
        notes: list[str] = []
        companions: dict[str, Any] = {}
        for name, field in _COMPANIONS.items():
            if name in arrays and name != variable:
                found, note = _companion(path.name, name, arrays[name], kspace.shape)
                companions[field] = found
                notes += [note] if note else []
        notes += [] if options.axes else _doubts(kspace.shape)
        scan = Scan(
            name=path.name,
            kspace=ArraySlices(path.name, kspace),
            n_coils_stored=kspace.shape[1],
            path=path,
            notes=tuple(notes),
            **companions,
        )
        return (scan,)

    @classmethod
    def _lost(cls, scan: Scan, *, companions: bool) -> tuple[str, ...]:
        alone = {
            "the mask (columns that are zero still show it)": scan.mask,
            "the target": scan.target,
            "the coil maps": scan.smaps,
            "the true image": scan.truth,
        }
        return lost(
            {
                "the header with the geometry": scan.header.xml or scan.header.encoded,
                **({} if companions else alone),
                "separate calibration lines": scan.calibration,
                "attributes": scan.attributes or None,
            }
        )

    @classmethod
    def write_images(
        cls, path: Path, images: Images, options: WriteOptions, *, overwrite: bool
    ) -> tuple[str, ...]:
        with atomic_output(path, overwrite=overwrite) as part, part.open("wb") as file:
            if cls.name == "npy":
                np.save(file, images.pixels)
            else:
                cls._save(file, path, {"reconstruction": images.pixels})
        return lost({"the geometry": images.placed.voxel, "how it was made": images.attributes or None})

    @classmethod
    def write_scan(cls, path: Path, scan: Scan, *, overwrite: bool) -> tuple[str, ...]:
        values = {name: getattr(scan, field) for name, field in _COMPANIONS.items()}
        arrays = {
            "kspace": scan.kspace[:],
            **{k: np.asarray(v[:]) for k, v in values.items() if v is not None},
        }
        with atomic_output(path, overwrite=overwrite) as part, part.open("wb") as file:
            cls._save(file, path, arrays)
        return cls._lost(scan, companions=True)

    @classmethod
    def _save(cls, file: Any, path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
        raise NotImplementedError


class Npy(_Arrays):
    """One array, as `numpy.save` writes it."""

    name: ClassVar[str] = "npy"
    suffix: ClassVar[str] = ".npy"
    suffixes: ClassVar[tuple[str, ...]] = (".npy",)

    @classmethod
    def recognises(cls, path: Path, start: bytes) -> bool:
        return start.startswith(b"\x93NUMPY")

    @classmethod
    def _load(cls, path: Path) -> Mapping[str, NDArray[Any]]:
        try:
            return {"array": load_array(path, "r")}
        except NUMPY_ERRORS as error:
            raise _broken(path, "a NumPy array", error) from error

    @classmethod
    def write_scan(cls, path: Path, scan: Scan, *, overwrite: bool) -> tuple[str, ...]:
        from numpy.lib.format import write_array_header_1_0

        shape = tuple(scan.kspace.shape)
        with atomic_output(path, overwrite=overwrite) as part, part.open("wb") as file:
            write_array_header_1_0(file, {"descr": "<c8", "fortran_order": False, "shape": shape})
            for i in range(scan.n_slices):
                file.write(np.ascontiguousarray(scan.kspace[i : i + 1], dtype="<c8").tobytes())
        return cls._lost(scan, companions=False)


class Npz(_Arrays):
    """An archive of arrays, as `numpy.savez` writes it."""

    name: ClassVar[str] = "npz"
    suffix: ClassVar[str] = ".npz"
    suffixes: ClassVar[tuple[str, ...]] = (".npz",)

    @classmethod
    def recognises(cls, path: Path, start: bytes) -> bool:
        return start.startswith(b"PK\x03\x04") and path.suffix == ".npz"

    @classmethod
    def _load(cls, path: Path) -> Mapping[str, NDArray[Any]]:
        try:
            # Opened here, as numpy would leave a broken archive open.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                unpacked = sum(member.file_size for member in archive.zip.infolist())
                _refuse_inflated(path, unpacked)
                found = {name: archive[name] for name in archive.files}
                # A member that is no array comes as bytes.
                return {name: value for name, value in found.items() if isinstance(value, np.ndarray)}
        except ScanError:
            raise
        except Exception as error:  # zlib.error, and what else a damaged archive meets in zipfile and numpy
            raise _broken(path, "an archive of NumPy arrays", error) from error

    @classmethod
    def _save(cls, file: Any, path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
        np.savez(file, **dict(arrays))  # type: ignore[arg-type]  # its stubs take the keywords for allow_pickle


class Mat(_Arrays):
    """MATLAB's .mat: versions 5 and 7.3 are read, 5 is written."""

    name: ClassVar[str] = "mat"
    suffix: ClassVar[str] = ".mat"
    suffixes: ClassVar[tuple[str, ...]] = (".mat",)

    @classmethod
    def recognises(cls, path: Path, start: bytes) -> bool:
        return start.startswith(b"MATLAB ")

    @classmethod
    def _load(cls, path: Path) -> Mapping[str, NDArray[Any]]:
        with path.open("rb") as file:
            newest = file.read(10) == b"MATLAB 7.3"
        return _load_mat73(path) if newest else _load_mat5(path)

    @classmethod
    def _save(cls, file: Any, path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
        from scipy.io import savemat

        largest = max(array.nbytes for array in arrays.values())
        if largest >= 2**31:
            raise OutputError(
                f"Cannot write {one_line(path)}: {largest} bytes are more than a MATLAB 5 file holds (2 GiB an array). "
                "Write npz or h5."
            )
        savemat(file, dict(arrays))


def _load_mat5(path: Path) -> Mapping[str, NDArray[Any]]:
    from scipy.io import loadmat, whosmat
    from scipy.io.matlab import MatReadError

    try:
        stated = sum(math.prod(shape) for _, shape, _ in whosmat(path))
        _refuse_inflated(path, 8 * stated)
        found = loadmat(path)
    except (MemoryError, ScanError):
        raise
    except (
        MatReadError,
        OSError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        NotImplementedError,
        EOFError,
    ) as error:
        raise _broken(path, "a MATLAB file", error) from error
    except Exception as error:  # zlib.error and what else a damaged file meets in its parser
        raise _broken(path, "a MATLAB file", error) from error
    return {
        name: value
        for name, value in found.items()
        if not name.startswith("__") and isinstance(value, np.ndarray)
    }


def _load_mat73(path: Path) -> Mapping[str, NDArray[Any]]:
    """MATLAB 7.3 is HDF5; its arrays lie there with their axes reversed."""
    import h5py

    from mri_recon.data.hdf5 import complex_fields, explained, find_dataset, open_hdf5

    arrays: dict[str, NDArray[Any]] = {}
    with open_hdf5(path) as file:
        for name in list(file):
            if name.startswith("#") or not isinstance(file.get(name, getlink=True), h5py.HardLink):
                continue
            if not isinstance(file[name], h5py.Dataset):
                continue
            data = find_dataset(file, path, name)
            if data is None:
                continue
            with explained(path, f"'{name}'"):
                values = np.asarray(data[()])
                fields = complex_fields(values.dtype)
            if fields is not None:
                values = values[fields[0]] + 1j * values[fields[1]]
            arrays[name] = values.transpose()
    return arrays


def _refuse_inflated(path: Path, n_bytes: int) -> None:
    """Refuse a small file that unpacks to a large one."""
    if implausible(n_bytes, path.stat().st_size):
        raise ScanError(
            f"{one_line(path)} unpacks to {n_bytes} bytes and has {path.stat().st_size}: it is damaged, or made to "
            "fill the memory. Write it again."
        )


def _broken(path: Path, what: str, error: Exception) -> ScanError:
    return ScanError(
        f"{one_line(path)} cannot be read as {what} ({one_line(error)[:120]}). "
        "It is damaged or holds objects: write it again."
    )


def _variable(path: Path, arrays: Mapping[str, NDArray[Any]], asked: str | None) -> str:
    """The array that is k-space: the one asked for, or called kspace, or the only complex one."""
    shown = ", ".join(
        f"{one_line(name)} {array.dtype} {array.shape}" for name, array in list(arrays.items())[:8]
    )
    if asked is not None:
        if asked not in arrays:
            raise SettingsError(f"{one_line(path)} holds no array '{asked}', it has: {shown or 'none'}.")
        return asked
    if "kspace" in arrays:
        return "kspace"
    candidates = [name for name, array in arrays.items() if array.dtype.kind == "c"]
    if len(candidates) == 1:
        return candidates[0]
    if len(arrays) == 1 and not candidates:
        raise _not_complex(f"{one_line(path)}: {shown}", next(iter(arrays.values())))
    raise ScanError(
        f"{one_line(path)}: {'several arrays' if candidates else 'no array'} could be k-space (complex), it has: "
        f"{shown or 'none'}. Name one with --variable NAME."
    )


def _arranged(path: Path, name: str, array: NDArray[Any], axes: tuple[str, ...] | None) -> NDArray[Any]:
    """The array as `(slice, coil, height, width)`, without copying it."""
    shown = f"{one_line(path)}: '{one_line(name)}'"
    if array.dtype.kind != "c" or array.dtype.itemsize < 8:
        raise _not_complex(f"{shown} is {array.dtype} {array.shape}", array)
    if axes is None:
        if array.ndim not in (2, 3, 4):
            raise SettingsError(
                f"{shown} has {array.ndim} axes, shape {array.shape}; k-space has at most {','.join(AXES)} and at "
                "least height and width. Take axes of one out (numpy.squeeze), and write echoes or repetitions to "
                "files of their own."
            )
        axes = {2: ("height", "width"), 4: AXES}.get(array.ndim, ())
        if not axes:
            raise SettingsError(
                f"{shown} has shape {array.shape} and does not say what its axes are. Say it in its order, for "
                "instance with --axes coil,height,width; for evaluate and train, convert it so to .h5."
            )
    if len(axes) != array.ndim:
        raise SettingsError(
            f"{shown} has {array.ndim} axes, shape {array.shape}; {len(axes)} were named: {','.join(axes)}."
        )
    if 0 in array.shape:
        raise ScanError(f"{shown} has shape {array.shape}: there is nothing in it. Export it again.")
    arranged = array.transpose([axes.index(axis) for axis in AXES if axis in axes])
    for position, axis in enumerate(AXES):
        if axis not in axes:
            arranged = np.expand_dims(arranged, position)
    return arranged


def _not_complex(what: str, array: NDArray[Any]) -> ScanError:
    """Numbers that are not complex: real and imaginary part side by side, or no k-space at all."""
    pairs = [axis for axis, size in enumerate(array.shape) if size == 2 and axis in (0, array.ndim - 1)]
    if array.dtype.kind == "f" and array.ndim > 2 and pairs:
        at = "..., {}" if pairs[-1] else "{}"
        real, imaginary = (f"a[{at.format(part)}]" for part in (0, 1))
        fix = f"If an axis of 2 is real and imaginary part, save {real} + 1j * {imaginary}."
    else:
        fix = "Combine real and imaginary part first; a magnitude image is no k-space."
    return ScanError(f"{what}, expected complex k-space. {fix}")


def _doubts(shape: tuple[int, ...]) -> list[str]:
    """A word on axes that were taken for granted, where they make no likely scan."""
    _, n_coils, height, width = shape
    if n_coils <= min(height, width):
        return []
    return [
        f"Its axes were taken as {', '.join(AXES)}, which makes {n_coils} coils of {height} × {width}. If they are "
        "others, name them with --axes."
    ]


def _companion(file: str, name: str, array: NDArray[Any], shape: tuple[int, ...]) -> tuple[Any, str | None]:
    """A mask, target, maps or true image that fits k-space; else a note that it was left out."""
    if name == "mask" and array.size == shape[3] and array.dtype.kind in "biuf" and (array != 0).any():
        return np.asarray(array != 0).reshape(-1), None
    if name == "target" and array.ndim == 3 and len(array) == shape[0] and array.dtype.kind in "fiu":
        return ArraySlices(file, array, np.float32), None
    wanted = shape if name == "sensitivity_maps" else (shape[0], *shape[2:])
    if name in ("sensitivity_maps", "truth") and array.shape == wanted and array.dtype.kind == "c":
        return ArraySlices(file, array), None
    return None, f"'{name}' was left out: {array.dtype} {array.shape} does not fit k-space {shape}."
