"""Two jobs on one output folder: each file is whole and one job's, and neither fails over the other."""

from __future__ import annotations

import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from batch_files import command, contents, environment, write_folder
from command_line import run

from mri_recon.batch import work
from mri_recon.data import simulate as simulating
from mri_recon.data.simulate import Simulation, simulate
from mri_recon.errors import OutputError
from mri_recon.files import atomic_folder, atomic_output


def test_of_many_that_write_one_name_one_does(tmp_path):
    """Sixteen at once, all past the first look whether it is there."""
    together = threading.Barrier(16)

    def write(number):
        try:
            with atomic_output(tmp_path / "result.txt") as part:
                part.write_text(f"{number}" * 1000)
                together.wait()
            return number
        except OutputError as error:
            return str(error)

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(write, range(16)))
    done = [number for number in found if isinstance(number, int)]
    refused = [text for text in found if isinstance(text, str)]
    assert len(done) == 1
    assert len(refused) == 15
    assert all("exists. Replace it with --overwrite" in text for text in refused)
    assert (tmp_path / "result.txt").read_text() == f"{done[0]}" * 1000
    assert [p.name for p in tmp_path.iterdir()] == ["result.txt"]


def test_of_two_that_write_one_folder_one_does(tmp_path):
    def inner():
        with atomic_folder(tmp_path / "series", suffix=".dcm") as part:
            (part / "1.dcm").write_text("inner")

    def outer():
        with atomic_folder(tmp_path / "series", suffix=".dcm") as part:
            (part / "1.dcm").write_text("outer")
            inner()

    with pytest.raises(OutputError, match="exists"):
        outer()
    assert [p.name for p in tmp_path.iterdir()] == ["series"]
    assert (tmp_path / "series" / "1.dcm").read_text() == "inner"


def test_where_links_cannot_be_made_names_are_still_given(tmp_path, monkeypatch):
    def refuse(part, final):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    with atomic_output(tmp_path / "a") as part:
        part.write_text("a")
    with pytest.raises(OutputError, match="exists"), atomic_output(tmp_path / "b") as part:
        (tmp_path / "b").write_text("another's")
    assert (tmp_path / "a").read_text() == "a"
    assert (tmp_path / "b").read_text() == "another's"


def test_a_file_that_another_job_made_meanwhile_is_kept(capsys, tmp_path, monkeypatch):
    scans, out = write_folder(tmp_path / "scans", ["a.h5", "b.h5"], n_slices=1), tmp_path / "out"
    arguments = ["reconstruct", scans, "-o", out, "--method", "zero-filled"]
    reconstruct = work.reconstruct

    def overtaken(scan, *others, **keywords):
        monkeypatch.setattr(work, "reconstruct", reconstruct)
        assert run(capsys, *arguments).code == 0
        return reconstruct(scan, *others, **keywords)

    monkeypatch.setattr(work, "reconstruct", overtaken)
    outcome = run(capsys, *arguments)
    assert outcome.code == 0
    assert "2 of 2 were there already and kept" in outcome.err


def test_a_scan_that_another_simulation_made_meanwhile_is_kept(tmp_path, monkeypatch):
    settings = Simulation(n_slices=1, size=(32, 32), n_coils=1)
    write = simulating.write_scan

    def overtaken(path, scan, *, overwrite):
        if not path.exists():
            write(path, scan, overwrite=False)
        write(path, scan, overwrite=overwrite)

    monkeypatch.setattr(simulating, "write_scan", overtaken)
    found = simulate(settings, tmp_path, {"train": 2})
    assert len(found.files) == 2
    assert found.made == []


@pytest.mark.slow
def test_two_processes_race(tmp_path):
    scans = write_folder(tmp_path / "scans", [f"{i}.h5" for i in range(12)], n_slices=1)
    tasks = {
        "reconstruct": ["reconstruct", scans, "-o", tmp_path / "out", "--method", "zero-filled"],
        "simulate": ["simulate", "-o", tmp_path / "set", "--n-scans", 12, "--slices", 1, "--size", "32x32"],
        "convert": ["convert", scans / "0.h5", tmp_path / "k.cfl"],
    }
    for name, arguments in tasks.items():
        both = [
            subprocess.Popen(command(*arguments), env=environment(), stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        said = [one.communicate()[1] for one in both]
        codes = sorted(one.returncode for one in both)
        assert codes == [0, 0] or (name == "convert" and codes == [0, 2]), said
        assert not any("Traceback" in one for one in said)
    raced = {name: contents(tmp_path / name) for name in ("out", "set")}
    assert [len(of_one) for of_one in raced.values()] == [24, 12]
    pair = (tmp_path / "k.cfl").read_bytes()
    for path in (tmp_path / "out", tmp_path / "set", tmp_path / "k.cfl"):
        path.rename(path.with_name(f"raced_{path.name}"))
    (tmp_path / "k.hdr").unlink()
    for arguments in tasks.values():
        assert subprocess.run(command(*arguments, "-q"), env=environment(), check=False).returncode == 0
    assert {name: contents(tmp_path / name) for name in ("out", "set")} == raced
    assert (tmp_path / "k.cfl").read_bytes() == pair
