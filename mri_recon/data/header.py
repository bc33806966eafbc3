"""The ISMRMRD header: XML to `Header`, and back."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

from mri_recon.data.scan import Header, Scan, Vector
from mri_recon.errors import ScanError
from mri_recon.files import one_line

_NAMESPACE = "http://www.ismrm.org/ISMRMRD"
_LONGEST = 16 * 2**20
_AROUND = "\x00\ufeff \t\r\n"


def parse_header(xml: str, width: int) -> tuple[Header, tuple[str, ...]]:
    """Read the geometry out of an ISMRMRD header; what cannot be used is left out with a note.

    A header is never worth failing for: k-space is complete without it.

    Parameters
    ----------
    xml
        The document; any XML namespace or none.
    width
        Columns of the k-space that it came with.

    Returns
    -------
    tuple
        The header, and notes on what was left out, one sentence each.
    """
    root, notes = read_xml(xml)
    if root is None:
        return Header(), notes
    xml = xml.strip(_AROUND)
    encoding = find(root, "encoding")
    if encoding is None:
        return Header(xml=xml), ("The ISMRMRD header has no encoding section: no geometry taken from it.",)
    encoded, encoded_notes = _matrix(encoding, "encodedSpace")
    recon, recon_notes = _matrix(encoding, "reconSpace")
    padding, padding_notes = _padding(encoding, encoded, width)
    header = Header(
        encoded=encoded,
        recon=recon,
        padding=padding,
        xml=xml,
        encoded_fov=_field_of_view(encoding, "encodedSpace"),
        recon_fov=_field_of_view(encoding, "reconSpace"),
    )
    return header, encoded_notes + recon_notes + padding_notes


def read_xml(xml: str) -> tuple[ElementTree.Element | None, tuple[str, ...]]:
    """The root of a header that can be trusted not to fill the memory; None, and a note, for any other."""
    xml = xml.strip(_AROUND)
    if len(xml) > _LONGEST:
        return None, (f"The ISMRMRD header was ignored: it is {len(xml)} characters long.",)
    # No scanner writes a DOCTYPE, and entities declared in one can expand to fill the memory.
    if re.search(r"<!\s*(DOCTYPE|ENTITY)", xml, re.IGNORECASE):
        return None, ("The ISMRMRD header was ignored: it declares a DOCTYPE or entities.",)
    try:
        return ElementTree.fromstring(xml), ()
    except (ElementTree.ParseError, ValueError) as error:
        return None, (f"The ISMRMRD header was ignored: it is not sound XML ({one_line(error)}).",)


def with_place(header: Header, positions: object, orientation: object, n_slices: int) -> Header:
    """The header with slice positions (3 numbers each) and orientation (9), unless they are nothing of the kind."""
    if not _numbers(positions, 3 * n_slices) or not _numbers(orientation, 9):
        return header
    points, directions = _vectors(positions), _vectors(orientation)
    return replace(header, positions=points, orientation=(directions[0], directions[1], directions[2]))


def _numbers(values: object, count: int) -> bool:
    return (
        isinstance(values, list) and len(values) == count and all(isinstance(v, int | float) for v in values)
    )


def _vectors(values: Any) -> tuple[Vector, ...]:
    return tuple((float(x), float(y), float(z)) for x, y, z in zip(*[iter(values)] * 3, strict=True))


def build_header(scan: Scan) -> str:
    """Write a minimal ISMRMRD header with the matrix sizes and encoding limits of `scan`.

    Fields that the schema asks for and a `Scan` does not know (field of view, resonance frequency) are 0.
    A reader places k-space by it: line `kspace_encoding_step_1` belongs in column ``width // 2 - center + line``.
    """
    height, width = scan.shape
    x, _, z = scan.header.encoded or (height, width, 1)
    recon = scan.header.recon or (*scan.crop_shape, 1)
    left, right = scan.header.padding or (0, width)
    center, maximum = width // 2 - left, right - left - 1
    limits = (
        "<kspace_encoding_step_1><minimum>0</minimum>"
        f"<maximum>{maximum}</maximum><center>{center}</center></kspace_encoding_step_1>"
    )
    return (
        f'<?xml version="1.0"?>\n<ismrmrdHeader xmlns="{_NAMESPACE}">'
        "<experimentalConditions><H1resonanceFrequency_Hz>0</H1resonanceFrequency_Hz></experimentalConditions>"
        f"<encoding>{_space('encodedSpace', (x, width, z), scan.header.encoded_fov)}"
        f"{_space('reconSpace', recon, scan.header.recon_fov)}"
        # With padding past the centre the limits have no centre to state: better none than a wrong one.
        f"<encodingLimits>{limits if 0 <= center <= maximum else ''}</encodingLimits>"
        "<trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"
    )


def rewrite_header(
    xml: str,
    encoding: int,
    encoded: tuple[int, int, int],
    encoded_fov: Vector | None,
    recon: tuple[int, int, int],
    limits: tuple[int, int] | None = None,
) -> str:
    """A header whose geometry is that of k-space as it became: lines sorted, oversampling removed.

    Of several encodings only the one that k-space came from is kept; all that is not geometry stays as it was.

    Parameters
    ----------
    encoding
        Which of the header's encodings k-space came from.
    limits
        Center and maximum of the phase-encode counter, where they change.

    Raises
    ------
    ScanError
        The header cannot be read, which was possible before.
    """
    root, notes = read_xml(xml)
    if root is None:
        raise ScanError(notes[0])
    for element in root.iter():
        element.tag = _bare(element.tag)
        element.attrib = {}
    root.set("xmlns", _NAMESPACE)
    encodings = root.findall("encoding")
    for number, element in enumerate(encodings):
        if number != encoding:
            root.remove(element)
    kept = encodings[encoding]
    _set_sizes(kept, "encodedSpace", encoded, encoded_fov)
    _set_sizes(kept, "reconSpace", recon, None)
    if limits is not None:
        within = _child(kept, "encodingLimits")
        old = within.find("kspace_encoding_step_1")
        if old is not None:
            within.remove(old)
        step = ElementTree.Element("kspace_encoding_step_1")
        within.insert(1 if within.find("kspace_encoding_step_0") is not None else 0, step)
        for name, value in (("minimum", 0), ("maximum", limits[1]), ("center", limits[0])):
            ElementTree.SubElement(step, name).text = str(value)
    return '<?xml version="1.0"?>\n' + ElementTree.tostring(root, encoding="unicode")


def _bare(tag: object) -> str:
    return str(tag).rpartition("}")[2]


def _child(element: ElementTree.Element, name: str) -> ElementTree.Element:
    found = element.find(name)
    return ElementTree.SubElement(element, name) if found is None else found


def _set_sizes(
    encoding: ElementTree.Element, space: str, matrix: tuple[int, int, int], fov: Vector | None
) -> None:
    sizes = _child(encoding, space)
    for name, values in (("matrixSize", matrix), ("fieldOfView_mm", fov)):
        if values is not None:
            of = _child(sizes, name)
            for axis, value in zip("xyz", values, strict=True):
                _child(of, axis).text = f"{value:.9g}"


def _space(name: str, size: tuple[int, int, int], fov: Vector | None) -> str:
    matrix = "".join(f"<{axis}>{n}</{axis}>" for axis, n in zip("xyz", size, strict=True))
    view = "".join(f"<{axis}>{mm:.9g}</{axis}>" for axis, mm in zip("xyz", fov or (0, 0, 0), strict=True))
    return f"<{name}><matrixSize>{matrix}</matrixSize><fieldOfView_mm>{view}</fieldOfView_mm></{name}>"


def find(element: ElementTree.Element, *names: str) -> ElementTree.Element | None:
    """First descendant along `names`, whatever its namespace."""
    found: ElementTree.Element | None = element
    for name in names:
        found = found.find(f"{{*}}{name}") if found is not None else None
    return found


def text_of(element: ElementTree.Element, *names: str) -> str:
    """Text of the first descendant along `names`, empty where there is none."""
    found = find(element, *names)
    return (found.text or "").strip() if found is not None else ""


def number_of(element: ElementTree.Element, *names: str) -> float | None:
    """Finite number in the first descendant along `names`."""
    try:
        value = float(text_of(element, *names))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _field_of_view(encoding: ElementTree.Element, space: str) -> Vector | None:
    """Sizes in mm; files without geometry state zeros."""
    x, y, z = (number_of(encoding, space, "fieldOfView_mm", axis) for axis in "xyz")
    if x is None or y is None or z is None or min(x, y) <= 0 or z < 0:
        return None
    return x, y, z


def _integer(element: ElementTree.Element | None) -> int | None:
    text = (element.text or "").strip() if element is not None else ""
    return int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else None


def _matrix(encoding: ElementTree.Element, space: str) -> tuple[tuple[int, int, int] | None, tuple[str, ...]]:
    element = find(encoding, space, "matrixSize")
    if element is None:
        return None, ()
    x, y = (_integer(find(element, axis)) for axis in "xy")
    z = _integer(find(element, "z")) if find(element, "z") is not None else 1
    if x is None or y is None or z is None or min(x, y, z) < 1:
        return None, (f"The ISMRMRD header's {space} was ignored: its matrix size is not three counts.",)
    return (x, y, z), ()


def _padding(
    encoding: ElementTree.Element, encoded: tuple[int, int, int] | None, width: int
) -> tuple[tuple[int, int] | None, tuple[str, ...]]:
    limits = find(encoding, "encodingLimits", "kspace_encoding_step_1")
    if limits is None or encoded is None:
        return None, ()
    center, maximum = _integer(find(limits, "center")), _integer(find(limits, "maximum"))
    if center is None or maximum is None:
        return None, ()
    if encoded[1] != width:
        return None, (
            f"The ISMRMRD header's encoding limits were ignored: they are of {encoded[1]} columns, "
            f"k-space has {width}.",
        )
    first = encoded[1] // 2 - center
    left, right = max(first, 0), min(first + maximum + 1, width)
    if not 0 <= center <= maximum or left >= right:
        return None, (
            f"The ISMRMRD header's encoding limits were ignored: center {center} and maximum {maximum} "
            f"do not fit {width} columns.",
        )
    return ((left, right) if (left, right) != (0, width) else None), ()
