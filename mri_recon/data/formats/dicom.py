"""A DICOM series of MR Image Storage, by pydicom: derived, de-identified unless asked otherwise.

References
----------
.. [1] DICOM PS3.3, A.4 Magnetic Resonance Image IOD; PS3.15, E Attribute confidentiality profiles.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from mri_recon import __version__
from mri_recon.data.formats.base import Format, WriteOptions, extra
from mri_recon.data.formats.pictures import one_file_only
from mri_recon.data.geometry import Placement, displayed
from mri_recon.data.header import number_of, read_xml, text_of
from mri_recon.data.images import Images, white_of
from mri_recon.errors import ScanError
from mri_recon.files import atomic_folder, atomic_output, one_line

_MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
_EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
_IMPLEMENTATION = "2.25.116262431785246130917425366120387126841"
_WHITE = 65535
_NO_PLACE = "Position and orientation are not those of the patient"
_TIMES = "numbers times"
_POSITIONS = ("HFP", "HFS", "HFDR", "HFDL", "FFP", "FFS", "FFDR", "FFDL")


class Dicom(Format):
    """A folder with one DICOM file a slice; or one file for one slice."""

    name: ClassVar[str] = "dicom"
    suffix: ClassVar[str] = ".dcm"
    suffixes: ClassVar[tuple[str, ...]] = (".dcm",)
    folder: ClassVar[bool] = True
    kspace: ClassVar[bool] = False

    @classmethod
    def recognises(cls, path: Path, start: bytes) -> bool:
        return start[128:132] == b"DICM"

    @classmethod
    def read_images(cls, path: Path) -> Images:
        pydicom = extra("pydicom", "pydicom", path)
        inside = path.iterdir() if path.is_dir() else [path]
        files = sorted(file for file in inside if file.is_file() and not file.name.startswith("."))
        return _volume(path, [_slice(pydicom, file) for file in files])

    @classmethod
    def write_images(
        cls, path: Path, images: Images, options: WriteOptions, *, overwrite: bool
    ) -> tuple[str, ...]:
        pydicom = extra("pydicom", "pydicom", path)
        series = _Series.of(images, options)
        single = path.suffix.lower() == cls.suffix
        if single and len(series.stored) > 1:
            raise one_file_only(path, len(series.stored), cls.name)
        if single:
            with atomic_output(path, overwrite=overwrite) as part:
                _save(pydicom, series.instance(pydicom, 0), part)
        else:
            with atomic_folder(path, overwrite=overwrite, suffix=cls.suffix) as folder:
                for number in range(len(series.stored)):
                    _save(pydicom, series.instance(pydicom, number), folder / f"{number + 1:04}.dcm")
        step = f"Numbers are rounded to 16 bits, in steps of {series.slope:.3g}."
        return (*images.placed.notes, *series.notes, step)


@dataclass(frozen=True)
class _Series:
    """What the files of a series share, and their pixels."""

    images: Images
    stored: NDArray[np.uint16]
    slope: float
    white: float
    affine: NDArray[np.float64]
    voxel: tuple[float, float, float]
    factor: float
    root: ElementTree.Element
    identity: bool
    digest: str
    notes: tuple[str, ...]

    @classmethod
    def of(cls, images: Images, options: WriteOptions) -> _Series:
        pixels, affine, voxel = displayed(images.pixels, images.placed)
        factor = _factor(white_of(pixels))
        pixels = pixels * np.float64(factor)
        top = float(pixels.max())
        # As the file will state it: what is read back is right to the last digit that it can hold.
        slope = float(_decimal(top / _WHITE)) if top > 0 else 1.0
        stored = np.clip(np.round(pixels / slope), 0, _WHITE).astype(np.uint16)
        root = (read_xml(images.xml)[0] if images.xml else None) or ElementTree.Element("none")
        notes: tuple[str, ...] = ()
        if options.keep_identity and not text_of(root, "subjectInformation", "patientID"):
            notes = ("The scan names no patient, so there is no identity to keep.",)
        digest = hashlib.sha256(
            pixels.tobytes() + repr(sorted(images.attributes.items())).encode()
        ).hexdigest()
        if factor != 1:
            notes += (
                f"Numbers are those of the images times {factor:g}: viewers cannot show windows below one.",
            )
        identity = options.keep_identity
        white = white_of(pixels)
        return cls(images, stored, slope, white, affine, voxel, factor, root, identity, digest, notes)

    def uid(self, what: str) -> str:
        """An identifier that follows from the images: the same series is the same series when written again."""
        number = int.from_bytes(hashlib.sha256(f"{self.digest} {what}".encode()).digest()[:16], "big")
        # The bits that mark a UUID of version 8 (custom), which DICOM's root 2.25 is for.
        number = number & ~(0xF << 76) & ~(0x3 << 62) | (8 << 76) | (2 << 62)
        return f"2.25.{number}"

    def instance(self, pydicom: Any, number: int) -> Any:
        """The data set of one slice."""
        ds = pydicom.Dataset()
        ds.SpecificCharacterSet = "ISO_IR 192"
        self._put_patient(ds)
        self._put_series(ds)
        self._put_acquisition(ds)
        self._put_place(ds, number)
        self._put_pixels(ds, number)
        ds.SOPClassUID = _MR_IMAGE_STORAGE
        ds.SOPInstanceUID = self.uid(f"slice {number}")
        ds.InstanceNumber = number + 1
        return ds

    def _put_patient(self, ds: Any) -> None:
        def told(*names: str) -> str:
            return text_of(self.root, *names) if self.identity else ""

        ds.PatientName = told("subjectInformation", "patientName") or "Anonymous^"
        ds.PatientID = told("subjectInformation", "patientID") or "Anonymous"
        ds.PatientBirthDate = told("subjectInformation", "patientBirthdate").replace("-", "")[:8]
        sex = told("subjectInformation", "patientGender").upper()
        ds.PatientSex = sex if sex in ("M", "F", "O") else ""
        ds.StudyDate = told("studyInformation", "studyDate").replace("-", "")[:8]
        ds.StudyTime = told("studyInformation", "studyTime").replace(":", "")[:6]
        ds.StudyID = told("studyInformation", "studyID")[:16]
        ds.AccessionNumber = told("studyInformation", "accessionNumber")[:16]
        ds.ReferringPhysicianName = told("studyInformation", "referringPhysicianName")
        if not self.identity:
            ds.PatientIdentityRemoved = "YES"
            ds.DeidentificationMethod = "mri-recon: nothing of patient or study is taken over"

    def _put_series(self, ds: Any) -> None:
        method = str(self.images.attributes.get("method", "reconstruction"))
        ds.StudyInstanceUID = self.uid("study")
        ds.SeriesInstanceUID = self.uid("series")
        ds.FrameOfReferenceUID = self.uid("frame of reference")
        ds.PositionReferenceIndicator = ""
        ds.Modality = "MR"
        ds.Laterality = ""
        ds.SeriesNumber = 1
        ds.SeriesDescription = f"mri-recon {method}"[:64]
        ds.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
        ds.DerivationDescription = self._derivation()
        ds.Manufacturer = text_of(self.root, "acquisitionSystemInformation", "systemVendor")[:64]
        ds.SoftwareVersions = f"mri-recon {__version__}"
        model = text_of(self.root, "acquisitionSystemInformation", "systemModel")
        if model:
            ds.ManufacturerModelName = model[:64]
        ds.BurnedInAnnotation = "NO"

    def _derivation(self) -> str:
        told = self.images.attributes
        known = [
            f"{name} {_without_folders(told[name])}"
            for name in ("method", "settings", "lines", "effective_acceleration")
            if name in told
        ]
        if self.factor != 1:
            known.append(f"{_TIMES} {self.factor:g}")
        return "; ".join(
            [
                f"Reconstructed by mri-recon {__version__}, not for diagnosis",
                *known,
                *self.images.placed.notes,
            ]
        )[:1024]

    def _put_acquisition(self, ds: Any) -> None:
        ds.ScanningSequence = "RM"  # research mode: the header does not tell of the sequence in DICOM's terms
        ds.SequenceVariant = "NONE"
        ds.ScanOptions = ""
        ds.MRAcquisitionType = "2D"
        ds.EchoTrainLength = ""
        for keyword, name in (
            ("RepetitionTime", "TR"), ("EchoTime", "TE"), ("InversionTime", "TI"), ("FlipAngle", "flipAngle_deg"),
        ):  # fmt: skip
            value = number_of(self.root, "sequenceParameters", name)
            if value is not None or keyword in ("RepetitionTime", "EchoTime"):
                setattr(ds, keyword, "" if value is None else _decimal(value))
        strength = number_of(self.root, "acquisitionSystemInformation", "systemFieldStrength_T")
        if strength is not None:
            ds.MagneticFieldStrength = _decimal(strength)
        position = text_of(self.root, "measurementInformation", "patientPosition")
        ds.PatientPosition = position if position in _POSITIONS else ""
        ds.AcquisitionNumber = 1

    def _put_place(self, ds: Any, number: int) -> None:
        row, column = self.affine[:3, 1], self.affine[:3, 0]
        across, down = row / np.linalg.norm(row), column / np.linalg.norm(column)
        ds.ImageOrientationPatient = [_decimal(v) for v in (*across, *down)]
        ds.ImagePositionPatient = [_decimal(v) for v in self.affine[:3, 3] + number * self.affine[:3, 2]]
        ds.PixelSpacing = [_decimal(self.voxel[0]), _decimal(self.voxel[1])]
        ds.SliceThickness = _decimal(self.images.placed.thickness or self.voxel[2])
        ds.SpacingBetweenSlices = _decimal(self.voxel[2])
        if self.images.placed.affine is None:
            unit = "mm" if self.images.placed.voxel else "voxels"
            ds.ImageComments = f"{_NO_PLACE}; lengths are in {unit}."

    def _put_pixels(self, ds: Any, number: int) -> None:
        ds.SamplesPerPixel = 1
        ds.PhotometricInterpretation = "MONOCHROME2"
        ds.Rows, ds.Columns = self.stored.shape[1:]
        ds.BitsAllocated = ds.BitsStored = 16
        ds.HighBit = 15
        ds.PixelRepresentation = 0
        ds.RescaleIntercept = "0"
        ds.RescaleSlope = _decimal(self.slope)
        ds.RescaleType = "US"
        ds.WindowCenter = _decimal(self.white / 2)
        ds.WindowWidth = _decimal(self.white)
        ds.PixelData = self.stored[number].astype("<u2").tobytes()


def _without_folders(told: Any) -> str:
    """What is told of a reconstruction; of a file, such as weights, its name: folders can be called after people."""
    try:
        settings = json.loads(told)
    except (TypeError, ValueError):
        return str(told)
    if not isinstance(settings, dict):
        return str(told)
    named = (re.split(r"[/\\]", v)[-1] if isinstance(v, str) else v for v in settings.values())
    return json.dumps(dict(zip(settings, named, strict=True)))


def _slice(pydicom: Any, file: Path) -> tuple[Any, NDArray[np.float32]]:
    """The data set of a file, and its pixels by its rescale."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what pydicom has to say of damaged files, the error below says
            ds = pydicom.dcmread(file)
            stored = ds.pixel_array.astype(np.float64)
        pixels = stored * float(ds.get("RescaleSlope", 1) or 1) + float(ds.get("RescaleIntercept", 0) or 0)
        told = re.search(rf"{_TIMES} ([0-9.e+-]+)", str(ds.get("DerivationDescription", "")))
        pixels /= float(told[1]) if told else 1.0
    except MemoryError:
        raise
    except Exception as error:  # what a damaged file raises depends on the byte that is damaged
        reason = one_line(error)[:120]
        raise ScanError(
            f"{one_line(file)} cannot be read as a DICOM image ({reason}). Copy it again, or leave it out."
        ) from error
    if pixels.ndim != 2 or not np.isfinite(pixels).all():
        raise ScanError(
            f"{one_line(file)}: pixels {pixels.shape}, expected one gray image of finite numbers. Leave it out."
        )
    return ds, pixels.astype(np.float32)


def _volume(path: Path, slices: list[tuple[Any, NDArray[np.float32]]]) -> Images:
    """One series put together in spatial order, or by instance number where it states no place."""
    kinds = {(str(ds.get("SeriesInstanceUID", "")), pixels.shape) for ds, pixels in slices}
    if len(kinds) != 1:
        raise ScanError(
            f"{one_line(path)} holds {len(kinds)} DICOM series or image sizes, expected one. Keep a series a folder."
        )
    try:
        found = [_place(ds) for ds, _ in slices]
    except (AttributeError, ValueError, TypeError, IndexError):
        found = []
    comments = str(slices[0][0].get("ImageComments", ""))
    if not found or comments.startswith(_NO_PLACE):
        return _unplaced(path, slices, known=bool(found) and comments.endswith("mm."))
    positions = np.array([position for position, *_ in found])
    _, down, across, spacing, thickness = found[0]
    normal = np.cross(across, down)
    order = [int(i) for i in np.argsort(positions @ normal, kind="stable")]
    positions = positions[order]
    step = (positions[-1] - positions[0]) / (len(order) - 1) if len(order) > 1 else normal * thickness
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = down * spacing[0], across * spacing[1]
    affine[:3, 2], affine[:3, 3] = step, positions[0]
    voxel = (spacing[0], spacing[1], float(np.linalg.norm(step)))
    placed = Placement(voxel, affine, tuple(range(len(order))), thickness)
    return Images(path.name, np.stack([slices[i][1] for i in order]), placed)


def _unplaced(path: Path, slices: list[tuple[Any, NDArray[np.float32]]], *, known: bool) -> Images:
    """Slices by instance number; with their sizes where those are `known`."""
    try:
        order = [int(i) for i in np.argsort([int(ds.InstanceNumber) for ds, _ in slices], kind="stable")]
    except (AttributeError, ValueError, TypeError):
        order = list(range(len(slices)))
    first = slices[0][0]
    spacing, thickness = _place(first)[3:] if known else ((1.0, 1.0), 1.0)
    step = float(first.get("SpacingBetweenSlices", 0) or thickness) if known else 1.0
    placed = Placement(
        (*spacing, step) if known else None, None, tuple(range(len(order))), thickness if known else None
    )
    return Images(path.name, np.stack([slices[i][1] for i in order]), placed.with_notes())


def _place(
    ds: Any,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], tuple[float, float], float]:
    """Position of the first pixel, directions down a column and along a row, spacing and thickness."""
    directions = np.array([float(v) for v in ds.ImageOrientationPatient])
    position = np.array([float(v) for v in ds.ImagePositionPatient])
    spacing = float(ds.PixelSpacing[0]), float(ds.PixelSpacing[1])
    return position, directions[3:6], directions[:3], spacing, float(ds.get("SliceThickness", 0) or 1)


def _factor(white: float) -> float:
    """A power of ten that brings the window to some thousands; one where it is of a size that viewers show."""
    return 1.0 if 100 <= white <= 100_000 or white <= 0 else 10.0 ** (3 - math.floor(math.log10(white)))


def _decimal(value: float) -> str:
    """A number in the sixteen characters that DICOM has for one."""
    for digits in range(15, 3, -1):
        text = f"{value + 0.0:.{digits}g}"
        if len(text) <= 16:
            return text
    return f"{value:.4g}"


def _save(pydicom: Any, ds: Any, path: Path) -> None:
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = _EXPLICIT_LITTLE_ENDIAN
    meta.ImplementationClassUID = _IMPLEMENTATION
    meta.ImplementationVersionName = "MRI_RECON"
    ds.file_meta = meta
    with path.open("wb") as file:
        pydicom.dcmwrite(file, ds, enforce_file_format=True)
