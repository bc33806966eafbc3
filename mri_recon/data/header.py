"""The ISMRMRD header: XML to `Header`, and back."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from mri_recon.data.scan import Header, Scan
from mri_recon.files import one_line

_NAMESPACE = "http://www.ismrm.org/ISMRMRD"
_LONGEST = 16 * 2**20


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
    xml = xml.strip("\x00\ufeff \t\r\n")
    if len(xml) > _LONGEST:
        return Header(), (f"The ISMRMRD header was ignored: it is {len(xml)} characters long.",)
    # No scanner writes a DOCTYPE, and entities declared in one can expand to fill the memory.
    if re.search(r"<!\s*(DOCTYPE|ENTITY)", xml, re.IGNORECASE):
        return Header(), ("The ISMRMRD header was ignored: it declares a DOCTYPE or entities.",)
    try:
        root = ElementTree.fromstring(xml)
    except (ElementTree.ParseError, ValueError) as error:
        return Header(), (f"The ISMRMRD header was ignored: it is not sound XML ({one_line(error)}).",)
    encoding = _find(root, "encoding")
    if encoding is None:
        return Header(xml=xml), ("The ISMRMRD header has no encoding section: no geometry taken from it.",)
    encoded, encoded_notes = _matrix(encoding, "encodedSpace")
    recon, recon_notes = _matrix(encoding, "reconSpace")
    padding, padding_notes = _padding(encoding, encoded, width)
    notes = encoded_notes + recon_notes + padding_notes
    return Header(encoded=encoded, recon=recon, padding=padding, xml=xml), notes


def build_header(scan: Scan) -> str:
    """Write a minimal ISMRMRD header with the matrix sizes and encoding limits of `scan`.

    Fields that the schema asks for and a `Scan` does not know (field of view, resonance frequency) are 0.
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
        f"<encoding>{_space('encodedSpace', (x, width, z))}{_space('reconSpace', recon)}"
        # With padding past the centre the limits have no centre to state: better none than a wrong one.
        f"<encodingLimits>{limits if 0 <= center <= maximum else ''}</encodingLimits>"
        "<trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"
    )


def _space(name: str, size: tuple[int, int, int]) -> str:
    matrix = "".join(f"<{axis}>{n}</{axis}>" for axis, n in zip("xyz", size, strict=True))
    unknown = "<x>0</x><y>0</y><z>0</z>"
    return f"<{name}><matrixSize>{matrix}</matrixSize><fieldOfView_mm>{unknown}</fieldOfView_mm></{name}>"


def _find(element: ElementTree.Element, *names: str) -> ElementTree.Element | None:
    """First descendant along `names`, whatever its namespace."""
    found: ElementTree.Element | None = element
    for name in names:
        found = found.find(f"{{*}}{name}") if found is not None else None
    return found


def _integer(element: ElementTree.Element | None) -> int | None:
    text = (element.text or "").strip() if element is not None else ""
    return int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else None


def _matrix(encoding: ElementTree.Element, space: str) -> tuple[tuple[int, int, int] | None, tuple[str, ...]]:
    element = _find(encoding, space, "matrixSize")
    if element is None:
        return None, ()
    x, y = (_integer(_find(element, axis)) for axis in "xy")
    z = _integer(_find(element, "z")) if _find(element, "z") is not None else 1
    if x is None or y is None or z is None or min(x, y, z) < 1:
        return None, (f"The ISMRMRD header's {space} was ignored: its matrix size is not three counts.",)
    return (x, y, z), ()


def _padding(
    encoding: ElementTree.Element, encoded: tuple[int, int, int] | None, width: int
) -> tuple[tuple[int, int] | None, tuple[str, ...]]:
    limits = _find(encoding, "encodingLimits", "kspace_encoding_step_1")
    if limits is None or encoded is None:
        return None, ()
    center, maximum = _integer(_find(limits, "center")), _integer(_find(limits, "maximum"))
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
