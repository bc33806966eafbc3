"""`atomic_output`: a file is there whole or not at all, and what was there before stays."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mri_recon import files
from mri_recon.errors import OutputError, ScanError
from mri_recon.files import (
    atomic_folder,
    atomic_output,
    check_writable,
    make_folder,
    no_empty_folder,
    one_line,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def complaint(path, **options) -> str:
    with pytest.raises(OutputError) as error, atomic_output(path, **options) as part:
        part.write_text("new")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_file_appears_at_the_end_under_its_name(tmp_path):
    final = tmp_path / "result.csv"
    with atomic_output(final) as part:
        part.write_text("a,b\n")
        assert part.parent == tmp_path
        assert re.fullmatch(r"\.result\.csv\.[0-9a-f]{8}-\d+-[0-9a-f]{8}\.part", part.name)
        assert not final.exists()
    assert final.read_text() == "a,b\n"
    assert names(tmp_path) == ["result.csv"]


def test_its_permissions_are_those_of_any_new_file(tmp_path):
    with atomic_output(tmp_path / "a") as part:
        part.write_text("x")
    (tmp_path / "b").write_text("x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


@pytest.mark.parametrize("failure", [ValueError("mine"), KeyboardInterrupt(), OSError(errno.EBADF, "other")])
def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path, failure):
    final = tmp_path / "result.csv"
    final.write_text("old")

    def act():
        with atomic_output(final, overwrite=True) as part:
            part.write_text("half")
            raise failure

    with pytest.raises(type(failure)) as raised:
        act()
    assert raised.value is failure
    assert final.read_text() == "old"
    assert names(tmp_path) == ["result.csv"]


def test_an_existing_file_is_kept_unless_told(tmp_path):
    final = tmp_path / "result.csv"
    final.write_text("old")
    assert "overwrite=True" in complaint(final)
    assert final.read_text() == "old"
    with atomic_output(final, overwrite=True) as part:
        part.write_text("new")
    assert final.read_text() == "new"


def test_a_file_that_appears_meanwhile_is_kept(tmp_path):
    final = tmp_path / "result.csv"

    def act():
        with atomic_output(final) as part:
            part.write_text("mine")
            final.write_text("theirs")

    with pytest.raises(OutputError, match="exists"):
        act()
    assert final.read_text() == "theirs"
    assert names(tmp_path) == ["result.csv"]


def test_a_path_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    cases = {
        tmp_path: "it is a folder. Give a file name",
        tmp_path / "none" / "a.csv": "its folder does not exist. Create",
        tmp_path / "file" / "a.csv": "is a file, not a folder. Write to a folder",
        tmp_path / ("x" * 300): "name is too long. Choose a shorter",
        tmp_path / "pipe": "not a regular file. Give another",
    }
    for path, words in cases.items():
        message = complaint(path, overwrite=True)
        assert words in message
        assert str(path) in message
    assert "loop" in complaint(tmp_path / "loop", overwrite=True)
    assert "Cannot write" in complaint(tmp_path / "a\0b")
    assert names(tmp_path) == ["file", "loop", "pipe"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    assert "permission denied. Write to a folder that is yours" in complaint(tmp_path / "a.csv")


def test_trying_whether_a_file_can_be_written_leaves_nothing(tmp_path):
    check_writable(tmp_path / "a.csv")
    assert names(tmp_path) == []
    with pytest.raises(OutputError, match="its folder does not exist"):
        check_writable(tmp_path / "none" / "a.csv")


def test_a_link_stays_and_its_file_is_replaced(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to(tmp_path / "real" / "a.csv")
    assert "exists" in complaint(tmp_path / "link.csv")
    with atomic_output(tmp_path / "link.csv", overwrite=True) as part:
        assert part.parent == tmp_path / "real"
        part.write_text("new")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real" / "a.csv").read_text() == "new"


def test_a_long_name_is_no_trouble(tmp_path):
    name = "ä" * 120 + ".csv"  # 244 bytes, of 255 that file systems allow
    with atomic_output(tmp_path / name) as part:
        part.write_text("x")
    assert names(tmp_path) == [name]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full. Free some space"),
        (errno.EDQUOT, "quota is used up. Free some space"),
        (errno.EROFS, "read-only. Write to another folder"),
        (errno.EIO, "input/output error. Write to another disk"),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_trouble_with_the_disk_is_told_however_a_library_words_it(tmp_path, number, words, wrapped):
    said = os.strerror(number)
    error = RuntimeError(f"I/O error: {said} (os error {number})") if wrapped else OSError(number, said)
    with pytest.raises(OutputError, match=words), atomic_output(tmp_path / "a.csv"):
        raise error
    assert names(tmp_path) == []


def test_trouble_with_another_file_is_left_alone(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_output(tmp_path / "a.csv"):
        (tmp_path / "input.csv").read_text()
    with pytest.raises(OSError, match="elsewhere"), atomic_output(tmp_path / "a.csv"):
        raise OSError(errno.ENOSPC, "full", "elsewhere")


def test_a_failure_to_rename_is_told(tmp_path, monkeypatch):
    def refuse(part, target):
        raise PermissionError(errno.EACCES, "Permission denied", str(part), None, str(target))

    monkeypatch.setattr(files.Path, "replace", refuse)
    monkeypatch.setattr(files.os, "link", refuse)
    assert "permission denied" in complaint(tmp_path / "a.csv")
    assert names(tmp_path) == []


FULL = """
import os, resource, signal, sys
from mri_recon.errors import OutputError
from mri_recon.files import atomic_output
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    with atomic_output(sys.argv[1], overwrite=True) as part:
        part.write_bytes(bytes(20_000))
except OutputError as error:
    print(error)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs resource limits")
def test_a_real_limit_on_the_size(tmp_path):
    (tmp_path / "a.bin").write_text("old")
    command = [sys.executable, "-c", FULL, str(tmp_path / "a.bin")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "larger than allowed" in done.stdout
    assert names(tmp_path) == ["a.bin"]
    assert (tmp_path / "a.bin").read_text() == "old"


def test_make_folder(tmp_path):
    assert make_folder(tmp_path / "a" / "b").is_dir()
    assert make_folder(str(tmp_path / "a" / "b")) == tmp_path / "a" / "b"
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file, not a folder"):
        make_folder(tmp_path / "file")
    with pytest.raises(OutputError, match="is a file, not a folder"):
        make_folder(tmp_path / "file" / "below")


def test_one_line():
    assert one_line("a\nb\x1b[31m\t ä\n") == "a b [31m  ä"


def test_ctrl_c_between_the_renames_of_a_folder_brings_back_what_was_there(tmp_path, monkeypatch):
    folder = tmp_path / "series"
    folder.mkdir()
    (folder / "0001.dcm").write_text("old")
    rename = Path.rename

    def interrupted(self, target):
        if self.suffix == ".part":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with (
        pytest.raises(KeyboardInterrupt),
        atomic_folder(folder, overwrite=True, suffix=".dcm") as part,
    ):
        (part / "0001.dcm").write_text("new")
    assert (folder / "0001.dcm").read_text() == "old"
    assert names(tmp_path) == ["series"]


def test_a_new_folder_with_nothing_in_it_goes_with_those_above(tmp_path):
    with no_empty_folder(tmp_path / "a" / "b"):
        make_folder(tmp_path / "a" / "b")
    assert names(tmp_path) == []


def test_a_folder_with_something_in_it_or_from_before_stays(tmp_path):
    with no_empty_folder(tmp_path / "a" / "b"):
        make_folder(tmp_path / "a" / "b")
        (tmp_path / "a" / "note.txt").write_text("x")
    assert names(tmp_path / "a") == ["note.txt"]
    (tmp_path / "old").mkdir()
    with no_empty_folder(tmp_path / "old"):
        pass
    assert names(tmp_path) == ["a", "old"]


def test_a_name_that_can_be_none_leaves_nothing_to_remove():
    with pytest.raises(ScanError, match="as it was"), no_empty_folder("a\0b"):
        raise ScanError("as it was")
