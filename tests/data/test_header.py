"""The ISMRMRD header: geometry and padding out of XML, nothing out of hostile or contradictory XML."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest

from mri_recon.data.header import build_header, parse_header
from mri_recon.data.scan import Header, Scan

NAMESPACE = "http://www.ismrm.org/ISMRMRD"


def header(
    encoded=(640, 368, 1),
    recon=(320, 320, 1),
    center: object = 184,
    maximum: object = 367,
    root=f'ismrmrdHeader xmlns="{NAMESPACE}"',
) -> str:
    def matrix(size):
        return (
            "<matrixSize>"
            + "".join(f"<{a}>{n}</{a}>" for a, n in zip("xyz", size, strict=False))
            + "</matrixSize>"
        )

    return (
        f'<?xml version="1.0" encoding="utf-8"?><{root}><encoding>'
        f"<encodedSpace>{matrix(encoded)}</encodedSpace><reconSpace>{matrix(recon)}</reconSpace>"
        f"<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>{maximum}</maximum>"
        f"<center>{center}</center></kspace_encoding_step_1></encodingLimits></encoding></{root.split()[0]}>"
    )


@pytest.mark.parametrize(
    "root", [f'ismrmrdHeader xmlns="{NAMESPACE}"', "ismrmrdHeader", 'ismrmrdHeader xmlns="urn:other"']
)
def test_matrix_sizes_in_any_namespace(root):
    xml = header(root=root)
    assert parse_header(xml, 368) == (Header((640, 368, 1), (320, 320, 1), None, xml), ())


@pytest.mark.parametrize(
    ("width", "center", "maximum", "padding"),
    [
        # fastMRI: left = encoded_y // 2 - center, right = left + maximum + 1
        (372, 151, 332, (35, 368)),
        (372, 168, 337, (18, 356)),
        (368, 184, 367, None),  # everything was acquired
        (369, 184, 368, None),
        (320, 130, 319, (30, 320)),  # partial Fourier: clipped at the right
        (320, 170, 319, (0, 310)),  # clipped at the left
        (320, 160, 300, (0, 301)),
    ],
)
def test_padding(width, center, maximum, padding):
    parsed, notes = parse_header(header((640, width, 1), center=center, maximum=maximum), width)
    assert (parsed.padding, notes) == (padding, ())


@pytest.mark.parametrize(
    ("xml", "words"),
    [
        (header((640, 372, 1), center=151, maximum=332), "of 372 columns, k-space has 368"),
        (header(center=400, maximum=367), "center 400 and maximum 367"),
        (header(center=-1), "center -1"),
        (header(encoded=(640, 368, 1), center=10, maximum=5), "do not fit"),
    ],
)
def test_limits_that_contradict_are_ignored_with_a_note(xml, words):
    parsed, (note,) = parse_header(xml, 368)
    assert parsed.padding is None
    assert parsed.recon == (320, 320, 1)
    assert words in note
    assert "\n" not in note


def test_what_is_missing_is_none_without_a_word():
    two = header(encoded=(640, 368), recon=(320, 320))
    assert parse_header(two, 368)[0].encoded == (640, 368, 1)
    for xml in (header(center=""), header(maximum="many"), header().replace("center", "middle")):
        assert (parse_header(xml, 368)[0].padding, parse_header(xml, 368)[1]) == (None, ())
    bare = "<ismrmrdHeader><encoding/></ismrmrdHeader>"
    assert parse_header(bare, 368) == (Header(xml=bare), ())


def test_sizes_that_are_no_counts_are_ignored_with_a_note():
    for size in [(0, 368, 1), (640, -3, 1), (640, "3.5", 1), ("٣", 368, 1), (10**12, 368, 1)]:
        parsed, (note,) = parse_header(header(recon=size), 368)
        assert parsed.recon is None
        assert parsed.encoded == (640, 368, 1)
        assert "reconSpace" in note


@pytest.mark.parametrize(
    ("xml", "words"),
    [
        ("<ismrmrdHeader><unclosed>", "not sound XML"),
        ("", "not sound XML"),
        ("not xml", "not sound XML"),
        ("\x00\x01<a/>", "not sound XML"),
        ("<!DOCTYPE ismrmrdHeader SYSTEM 'file:///etc/passwd'><ismrmrdHeader/>", "DOCTYPE"),
        ("<!doctype x [<!entity a 'b'>]><ismrmrdHeader/>", "DOCTYPE"),
        ("<a>" + " " * 17 * 2**20 + "</a>", "characters long"),
    ],
)
def test_what_is_not_a_header_is_ignored_with_a_note(xml, words):
    parsed, (note,) = parse_header(xml, 368)
    assert parsed == Header()
    assert words in note
    assert "\n" not in note


def test_a_billion_laughs_are_not_laughed():
    entities = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 12))
    bomb = f'<?xml version="1.0"?>\n<!DOCTYPE z [<!ENTITY l0 "ha">{entities}]><z>&l11;</z>'
    start = time.perf_counter()
    assert parse_header(bomb, 368)[0] == Header()
    assert time.perf_counter() - start < 1


def test_padding_nuls_and_byte_order_mark_do_no_harm():
    assert parse_header("\ufeff" + header() + "\x00\x00\n", 368)[0].recon == (320, 320, 1)


def scan_of(height: int, width: int, **fields) -> Scan:
    return Scan(name="a.h5", kspace=np.zeros((1, 2, height, width), np.complex64), **fields)


@pytest.mark.parametrize("width", [8, 9])
@pytest.mark.parametrize("padding", [None, (0, 7), (2, 7), (1, 8), (4, 6)])
def test_a_built_header_reads_as_what_it_was_built_from(width, padding):
    stated = Header(
        encoded=(20, width, 1), recon=(10, 6, 1), padding=padding if padding != (0, width) else None
    )
    parsed, notes = parse_header(build_header(scan_of(20, width, header=stated)), width)
    assert dataclasses.replace(parsed, xml=None) == stated
    assert notes == ()


def test_a_built_header_takes_from_the_arrays_what_is_not_stated():
    scan = scan_of(20, 9, target=np.zeros((1, 10, 7), np.float32))
    parsed, notes = parse_header(build_header(scan), 9)
    assert (parsed.encoded, parsed.recon, parsed.padding, notes) == ((20, 9, 1), (10, 7, 1), None, ())


def test_padding_beyond_the_center_is_not_stated_rather_than_wrong():
    parsed, notes = parse_header(build_header(scan_of(20, 8, header=Header(padding=(6, 8)))), 8)
    assert (parsed.padding, notes) == (None, ())
