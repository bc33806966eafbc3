"""Images out: NIfTI, DICOM, PNG and TIFF, each placed and scaled right."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT, assert_close
from PIL import Image
from raw_files import FORMATS

from mri_recon.data.formats.base import WriteOptions
from mri_recon.data.formats.dicom import Dicom
from mri_recon.data.formats.fastmri import FastMri
from mri_recon.data.formats.nifti import Nifti
from mri_recon.data.formats.pictures import Png, Tiff
from mri_recon.data.formats.registry import format_of, read_images
from mri_recon.data.geometry import Placement, displayed, placement
from mri_recon.data.images import Images
from mri_recon.data.scan import Header
from mri_recon.errors import OutputError, ScanError, SettingsError

KEEP = WriteOptions(keep_identity=True)
XML = """<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
<studyInformation><studyDate>2020-02-03</studyDate><studyTime>10:11:12</studyTime></studyInformation>
<subjectInformation><patientName>Doe^Jane</patientName><patientID>4711</patientID><patientBirthdate>1970-01-02</patientBirthdate>
<patientGender>F</patientGender></subjectInformation>
<measurementInformation><patientPosition>HFS</patientPosition></measurementInformation>
<acquisitionSystemInformation><systemVendor>ACME</systemVendor><systemFieldStrength_T>2.89</systemFieldStrength_T>
</acquisitionSystemInformation>
<sequenceParameters><TR>500</TR><TE>12.5</TE><flipAngle_deg>70</flipAngle_deg></sequenceParameters></ismrmrdHeader>"""

AXIAL = Header(
    encoded_fov=(480.0, 240.0, 4.0),
    recon_fov=(240.0, 240.0, 4.0),
    positions=((10.0, 20.0, 30.0), (10.0, 20.0, 35.0), (10.0, 20.0, 40.0)),
    orientation=((0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),
)


def images(header=AXIAL, **fields) -> Images:
    pixels = np.random.default_rng(0).random((3, 16, 24), np.float32)
    pixels[1, 2, 3] = 4.0
    placed = placement(header, (32, 24), (16, 24), (0, 3))
    return Images("scan.h5", pixels, placed, {"method": "cs", "lines": 12}, XML, **fields)


class TestPlacement:
    def test_the_centre_of_the_image_is_the_slice_s_position(self):
        placed = placement(AXIAL, (32, 24), (16, 24), (0, 3))
        assert placed.voxel == (15.0, 10.0, 5.0)
        for number in range(3):
            assert_close(placed.affine @ [8, 12, number, 1], np.array([*AXIAL.positions[number], 1]), 1e-12)
        assert_close(placed.affine[:3, :3], np.array([[0, 10, 0], [15, 0, 0], [0, 0, 5.0]]), 1e-12)

    @pytest.mark.parametrize("crop", [(32, 24), (15, 23), (16, 24), (31, 1)])
    def test_cropping_moves_no_voxel(self, crop):
        whole = placement(AXIAL, (32, 24), (32, 24), (0, 3))
        cut = placement(AXIAL, (32, 24), crop, (0, 3))
        top, left = (32 - crop[0]) // 2, (24 - crop[1]) // 2
        assert_close(cut.affine @ [0, 0, 0, 1], whole.affine @ [top, left, 0, 1], 1e-12)

    def test_slices_are_put_in_their_place(self):
        swapped = replace(AXIAL, positions=tuple(AXIAL.positions[i] for i in (2, 0, 1)))
        placed = placement(swapped, (32, 24), (16, 24), (0, 3))
        assert placed.order == (1, 2, 0)
        assert placed.affine[2, 3] == 30.0
        part = placement(swapped, (32, 24), (16, 24), (1, 3))
        assert (part.order, part.voxel[2], part.affine[2, 3]) == ((0, 1), 5.0, 30.0)

    def test_uneven_slices_are_told_of(self):
        uneven = replace(AXIAL, positions=((0, 0, 0), (0, 0, 5.0), (0, 0, 20.0)))
        placed = placement(uneven, (32, 24), (16, 24), (0, 3))
        assert "not evenly spaced" in placed.notes[0]
        assert placed.voxel[2] == 4.0

    def test_what_is_not_known_is_said(self):
        assert "voxels" in placement(Header(), (8, 8), (8, 8), (0, 1)).notes[0]
        sizes = placement(Header(encoded_fov=(80, 160, 3)), (8, 8), (8, 8), (0, 2))
        assert (sizes.voxel, sizes.affine) == ((10.0, 20.0, 3), None)
        assert "position and orientation" in sizes.notes[0]

    def test_attributes_keep_it(self):
        placed = placement(AXIAL, (32, 24), (16, 24), (0, 3))
        back = Placement.from_attributes(placed.attributes(), 3)
        assert np.array_equal(back.affine, placed.affine)
        assert (back.voxel, back.order, back.thickness) == (placed.voxel, placed.order, placed.thickness)

    @pytest.mark.parametrize(
        ("read", "phase", "normal", "right", "down"),
        [
            (
                (0, 1, 0),
                (1, 0, 0),
                (0, 0, 1),
                (1, 0, 0),
                (0, 1, 0),
            ),  # axial: right is the patient's left, down is back
            ((1, 0, 0), (0, -1, 0), (0, 0, 1), (1, 0, 0), (0, 1, 0)),
            ((0, 0, 1), (-1, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, -1)),  # coronal: down is feet
            ((0, 1, 0), (0, 0, 1), (1, 0, 0), (0, 1, 0), (0, 0, -1)),  # sagittal: right is back
        ],
    )
    def test_pictures_are_turned_as_radiologists_expect(self, read, phase, normal, right, down):
        header = replace(AXIAL, orientation=(read, phase, normal))
        placed = placement(header, (32, 24), (16, 24), (0, 3))
        pixels = np.random.default_rng(0).random((3, 16, 24))
        shown, affine, voxel = displayed(pixels, placed)
        assert_close(affine[:3, 1] / voxel[1], np.array(right, float), 1e-12)
        assert_close(affine[:3, 0] / voxel[0], np.array(down, float), 1e-12)
        # The same pixel is at the same place.
        n, i, j = (int(k[0]) for k in np.nonzero(shown == pixels[placed.order[2], 5, 7]))
        assert_close(affine @ [i, j, n, 1], placed.affine @ [5, 7, 2, 1], 1e-12)


class TestNifti:
    @pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
    def test_nibabel_reads_pixels_and_place(self, tmp_path, name):
        nibabel = pytest.importorskip("nibabel")
        made = images()
        assert Nifti.write_images(tmp_path / name, made, WriteOptions(), overwrite=False) == ()
        image = nibabel.load(tmp_path / name)
        assert np.array_equal(image.get_fdata(dtype=np.float32).transpose(2, 0, 1), made.pixels)
        # Right and front are positive here, left and back there.
        assert_close(image.affine @ [8, 12, 0, 1], np.array([-10, -20, 30, 1.0]), 1e-6)
        assert image.header.get_zooms() == (15, 10, 5)
        assert image.header.get_xyzt_units()[0] == "mm"
        assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 1)

    def test_round_trip(self, tmp_path):
        pytest.importorskip("nibabel")
        made = images()
        Nifti.write_images(tmp_path / "a.nii.gz", made, WriteOptions(), overwrite=False)
        back = read_images(tmp_path / "a.nii.gz")
        assert np.array_equal(back.pixels, made.pixels)
        assert_close(back.placed.affine, made.placed.affine, 1e-6)
        assert back.attributes == made.attributes
        Nifti.write_images(tmp_path / "b.nii.gz", back, WriteOptions(), overwrite=False)
        assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()

    def test_without_geometry_it_says_so_and_uses_voxels(self, tmp_path):
        nibabel = pytest.importorskip("nibabel")
        notes = Nifti.write_images(tmp_path / "a.nii", images(Header()), WriteOptions(), overwrite=False)
        assert "in voxels" in notes[0]
        image = nibabel.load(tmp_path / "a.nii")
        assert image.header.get_zooms() == (1, 1, 1)
        assert image.header.get_xyzt_units()[0] == "unknown"
        assert int(image.header["sform_code"]) == int(image.header["qform_code"]) == 0

    def test_nibabel_s_own_file(self):
        pytest.importorskip("nibabel")
        found = read_images(FORMATS / "volume.nii")
        assert np.array_equal(found.pixels.transpose(1, 2, 0).ravel(), np.arange(60))
        assert_close(found.placed.affine @ [0, 0, 0, 1], np.array([-20, 30, 5, 1.0]), 1e-6)
        assert found.placed.voxel == (2.0, 1.5, 4.0)

    def test_damage_is_told_in_a_line(self, tmp_path):
        pytest.importorskip("nibabel")
        (tmp_path / "a.nii").write_bytes((FORMATS / "volume.nii").read_bytes()[:400])
        with pytest.raises(ScanError, match="cannot be read as NIfTI") as caught:
            read_images(tmp_path / "a.nii")
        assert "\n" not in str(caught.value)


class TestDicom:
    def series(self, tmp_path, made=None, options=WriteOptions()):  # noqa: B008
        pydicom = pytest.importorskip("pydicom")
        Dicom.write_images(tmp_path / "series", made or images(), options, overwrite=False)
        return [pydicom.dcmread(path) for path in sorted((tmp_path / "series").iterdir())]

    @pytest.mark.parametrize(("size", "factor"), [(1000.0, 1.0), (1e-5, 1e9), (1e9, 1e-5)])
    def test_pixels_come_back_by_the_rescale(self, tmp_path, size, factor):
        """Windows below one are not permitted, so small and large numbers are written times a power of ten."""
        made = images()
        made = replace(made, pixels=made.pixels * np.float32(size))
        read = self.series(tmp_path, made)
        shown, affine, _ = displayed(made.pixels, made.placed)
        for number, ds in enumerate(read):
            values = ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
            assert np.abs(values - factor * shown[number]).max() <= float(ds.RescaleSlope) * 0.501
            assert [float(v) for v in ds.ImagePositionPatient] == pytest.approx(
                list((affine @ [0, 0, number, 1])[:3])
            )
            assert [float(v) for v in ds.ImageOrientationPatient] == [1, 0, 0, 0, 1, 0]
            assert [float(v) for v in ds.PixelSpacing] == [15, 10]
            assert (float(ds.SliceThickness), float(ds.SpacingBetweenSlices)) == (4, 5)
            assert float(ds.WindowWidth) == pytest.approx(factor * np.percentile(shown, 99.7), rel=1e-6)
            assert float(ds.WindowWidth) >= 100
            assert (f"numbers times {factor:g}" in ds.DerivationDescription) == (factor != 1)

    def test_no_folder_s_name_gets_into_it(self, tmp_path):
        """Folders can be called after patients; the weights are named by their file."""
        settings = json.dumps(
            {"weights": "/home/Jane Doe/run/best.safetensors", "other": "C:\\Doe\\a.bin", "n": 3}
        )
        made = replace(images(), attributes={"method": "unet", "settings": settings})
        for ds in self.series(tmp_path, made):
            assert "best.safetensors" in ds.DerivationDescription
            assert '"n": 3' in ds.DerivationDescription
            assert "Doe" not in str(ds)

    @pytest.mark.parametrize("size", [1000.0, 1e-5])
    def test_round_trip(self, tmp_path, size):
        pytest.importorskip("pydicom")
        made = replace(images(), pixels=images().pixels * np.float32(size))
        Dicom.write_images(tmp_path / "series", made, WriteOptions(), overwrite=False)
        back = read_images(tmp_path / "series")
        shown, affine, voxel = displayed(made.pixels, made.placed)
        assert_close(back.pixels, shown, 1e-5)
        assert_close(back.placed.affine, affine, 1e-9)
        assert (back.placed.voxel, back.placed.thickness) == (pytest.approx(voxel), 4.0)
        assert_close(read_images(tmp_path / "series/0002.dcm").pixels[0], shown[1], 1e-5)

    def test_files_are_sorted_by_their_place_and_one_series_is_wanted(self, tmp_path):
        pytest.importorskip("pydicom")
        Dicom.write_images(tmp_path / "a", images(), WriteOptions(), overwrite=False)
        expected = read_images(tmp_path / "a").pixels
        (tmp_path / "a/0001.dcm").rename(tmp_path / "a/9.dcm")
        assert np.array_equal(read_images(tmp_path / "a").pixels, expected)
        other = replace(images(), pixels=images().pixels[:, ::-1])
        Dicom.write_images(tmp_path / "b", other, WriteOptions(), overwrite=False)
        (tmp_path / "b/0001.dcm").rename(tmp_path / "a/0001.dcm")
        with pytest.raises(ScanError, match="2 DICOM series"):
            read_images(tmp_path / "a")

    def test_without_geometry_it_comes_back_without(self, tmp_path):
        pytest.importorskip("pydicom")
        Dicom.write_images(tmp_path / "a", images(Header()), WriteOptions(), overwrite=False)
        back = read_images(tmp_path / "a")
        assert_close(back.pixels, images().pixels, 1e-5)
        assert (back.placed.voxel, back.placed.affine) == (None, None)
        sized = images(replace(AXIAL, positions=None))
        Dicom.write_images(tmp_path / "b", sized, WriteOptions(), overwrite=False)
        back = read_images(tmp_path / "b")
        assert (back.placed.voxel, back.placed.affine) == (sized.placed.voxel, None)

    def test_pydicom_s_own_file(self):
        """An MR slice that comes with pydicom."""
        data = pytest.importorskip("pydicom.data")
        path = Path(data.get_testdata_file("MR_small.dcm", download=False))
        found = read_images(path)
        ds = pytest.importorskip("pydicom").dcmread(path)
        assert np.array_equal(found.pixels[0], ds.pixel_array)
        assert_close(found.placed.affine[:3, 3], np.array([float(v) for v in ds.ImagePositionPatient]), 1e-9)
        assert found.placed.voxel[:2] == (float(ds.PixelSpacing[0]), float(ds.PixelSpacing[1]))

    def test_damage_is_told_in_a_line(self, tmp_path):
        pytest.importorskip("pydicom")
        Dicom.write_images(tmp_path / "a", images(), WriteOptions(), overwrite=False)
        content = (tmp_path / "a/0001.dcm").read_bytes()
        (tmp_path / "a/0001.dcm").write_bytes(content[: len(content) - 200])
        with pytest.raises(ScanError, match="cannot be read as a DICOM image") as caught:
            read_images(tmp_path / "a")
        assert "\n" not in str(caught.value)

    def test_it_is_derived_and_names_nobody(self, tmp_path):
        (first, *_) = read = self.series(tmp_path)
        assert list(first.ImageType) == ["DERIVED", "SECONDARY", "OTHER"]
        assert (first.PatientIdentityRemoved, str(first.PatientID)) == ("YES", "Anonymous")
        for path in (tmp_path / "series").iterdir():
            content = path.read_bytes()
            for word in (b"Doe", b"Jane", b"4711", b"1970", b"2020"):
                assert word not in content
        assert len({ds.SeriesInstanceUID for ds in read}) == 1
        assert len({ds.SOPInstanceUID for ds in read}) == 3
        assert (float(first.RepetitionTime), float(first.EchoTime), float(first.FlipAngle)) == (500, 12.5, 70)
        assert (first.Manufacturer, first.PatientPosition) == ("ACME", "HFS")

    def test_identity_is_kept_if_asked(self, tmp_path):
        (first, *_) = self.series(tmp_path, options=KEEP)
        assert (str(first.PatientName), first.PatientID) == ("Doe^Jane", "4711")
        assert (first.PatientBirthDate, first.PatientSex, first.StudyDate) == ("19700102", "F", "20200203")
        assert "PatientIdentityRemoved" not in first

    def test_the_same_images_are_the_same_series(self, tmp_path):
        pytest.importorskip("pydicom")
        for name in ("a", "b"):
            Dicom.write_images(tmp_path / name, images(), WriteOptions(), overwrite=False)
        assert (tmp_path / "a/0002.dcm").read_bytes() == (tmp_path / "b/0002.dcm").read_bytes()

    @pytest.mark.parametrize("made", [images(), images(Header()), images(replace(AXIAL, positions=None))])
    @pytest.mark.parametrize("options", [WriteOptions(), KEEP])
    def test_the_validator_finds_no_error(self, tmp_path, made, options):
        if shutil.which("dciodvfy") is None:
            pytest.skip("dciodvfy is absent (Debian: dicom3tools)")
        self.series(tmp_path, made, options)
        for path in (tmp_path / "series").iterdir():
            done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
            assert "MRImage" in done.stderr
            assert [line for line in done.stderr.splitlines() if line.startswith("Error")] == []

    def test_one_slice_may_be_a_file(self, tmp_path):
        pydicom = pytest.importorskip("pydicom")
        one = replace(images(), pixels=images().pixels[:1], placed=Placement())
        Dicom.write_images(tmp_path / "a.dcm", one, WriteOptions(), overwrite=False)
        assert pydicom.dcmread(tmp_path / "a.dcm").InstanceNumber == 1
        assert format_of(tmp_path / "a.dcm").name == "dicom"
        with pytest.raises(OutputError, match="3 slices"):
            Dicom.write_images(tmp_path / "b.dcm", images(), WriteOptions(), overwrite=False)


class TestPictures:
    def test_tiff_keeps_the_numbers(self, tmp_path):
        made = images(Header())
        Tiff.write_images(tmp_path / "a.tiff", made, WriteOptions(), overwrite=False)
        with Image.open(tmp_path / "a.tiff") as picture:
            assert picture.n_frames == 3
            for number in range(3):
                picture.seek(number)
                assert np.array_equal(np.asarray(picture), made.pixels[number])

    def test_png_shades_are_one_scale(self, tmp_path):
        made = images(Header())
        Png.write_images(tmp_path / "a", made, WriteOptions(), overwrite=False)
        read = []
        for path in sorted((tmp_path / "a").iterdir()):
            with Image.open(path) as picture:
                read.append(np.asarray(picture).astype(float))
        white = np.percentile(made.pixels, 99.7)
        assert_close(np.stack(read), 65535 * np.clip(made.pixels / white, 0, 1), 1e-4)

    def test_a_folder_of_other_things_is_not_replaced(self, tmp_path):
        Png.write_images(tmp_path / "a", images(), WriteOptions(), overwrite=False)
        with pytest.raises(OutputError, match="exists"):
            Png.write_images(tmp_path / "a", images(), WriteOptions(), overwrite=False)
        Png.write_images(tmp_path / "a", images(), WriteOptions(), overwrite=True)
        (tmp_path / "a/thesis.txt").write_text("mine")
        with pytest.raises(OutputError, match=r"such as thesis\.txt"):
            Png.write_images(tmp_path / "a", images(), WriteOptions(), overwrite=True)
        assert sorted(p.name for p in tmp_path.rglob("*")) == [
            "0001.png",
            "0002.png",
            "0003.png",
            "a",
            "thesis.txt",
        ]


def test_fastmri_s_layout_keeps_place_and_origin(tmp_path):
    made = images()
    FastMri.write_images(tmp_path / "a.h5", made, WriteOptions(), overwrite=False)
    back = read_images(tmp_path / "a.h5")
    assert np.array_equal(back.pixels, made.pixels)
    assert np.array_equal(back.placed.affine, made.placed.affine)
    assert (back.attributes["method"], back.attributes["lines"]) == ("cs", 12)


def test_images_are_not_kspace_and_written_is_not_read(tmp_path):
    from mri_recon import read_scans

    with pytest.raises(ScanError, match="holds images"):
        read_scans(FORMATS / "volume.nii")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(ScanError, match="written, not read"):
        read_images(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("name", "module"), [("a.nii.gz", "nibabel"), ("a", "pydicom"), ("meas.dat", "twixtools")]
)
def test_a_missing_package_is_named_with_the_extra(tmp_path, monkeypatch, name, module):
    from raw_files import unpacked

    from mri_recon import read_scans

    monkeypatch.setitem(sys.modules, module, None)
    path = unpacked(name, tmp_path) if module == "twixtools" else tmp_path / name

    def use():
        if module == "twixtools":
            return read_scans(path)
        kind = Nifti if module == "nibabel" else Dicom
        return kind.write_images(path, images(), WriteOptions(), overwrite=False)

    with pytest.raises(SettingsError, match=rf"{module}.*pip install 'mri-recon\[formats\]'"):
        use()
    assert not [path for path in tmp_path.iterdir() if path.name != "meas.dat"]


def test_the_reference_files_are_those_of_the_script():
    made = (ROOT / "scripts" / "make_format_files.py").read_text(encoding="utf-8")
    for path in FORMATS.iterdir():
        assert path.name.removesuffix(".gz").split(".")[0] in made
        assert path.stat().st_size < 25_000
