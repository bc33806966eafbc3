"""Writing a file so that it is there whole or not at all.

Everything mri-recon writes goes through `atomic_output`: HDF5, PNG, CSV, JSON, HTML, weights.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from mri_recon.errors import OutputError
from mri_recon.leftovers import clear_leftovers_once, temporary_name

_REASONS = {
    errno.ENOSPC: ("the disk is full", "Free some space or write to another disk."),
    errno.EDQUOT: ("your disk quota is used up", "Free some space or write to another disk."),
    errno.EFBIG: ("the file would be larger than allowed", "Raise `ulimit -f` or write to another disk."),
    errno.EROFS: ("the file system is read-only", "Write to another folder."),
    errno.EIO: ("the disk reported an input/output error", "Write to another disk."),
    errno.EACCES: ("permission denied", "Write to a folder that is yours, or change its permissions."),
    errno.EPERM: ("permission denied", "Write to a folder that is yours, or change its permissions."),
    errno.ENOENT: ("its folder does not exist", "Create the folder first."),
    errno.ENOTDIR: ("part of its path is a file, not a folder", "Write to a folder."),
    errno.ENAMETOOLONG: ("the name is too long", "Choose a shorter name."),
    errno.ELOOP: ("its path is a loop of links", "Remove the link or write elsewhere."),
}

# A library that wraps the system's error often forgets to say which file: these can only be about one
# being written.
_ONLY_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}


def one_line(text: object) -> str:
    """Make `text` fit for an error message: one line, nothing a terminal would act on."""
    return "".join(c if c.isprintable() else " " for c in str(text)).strip()


def output_error(path: Path, error: BaseException) -> OutputError:
    """Say in the user's terms why `path` could not be written."""
    unknown = (getattr(error, "strerror", None) or str(error) or type(error).__name__, "Write elsewhere.")
    reason, fix = _REASONS.get(_error_number(error) or 0, unknown)
    return OutputError(f"Cannot write {one_line(path)}: {one_line(reason)}. {fix}")


def make_folder(path: str | Path) -> Path:
    """Create a folder for results, and those above it, unless it is there.

    Raises
    ------
    OutputError
        It cannot be created, or something of that name is not a folder.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        message = f"Cannot write to {one_line(folder)}: it is a file, not a folder. Choose another name."
        raise OutputError(message) from error
    except (OSError, ValueError) as error:
        raise output_error(folder, error) from error
    return folder


@contextmanager
def no_empty_folder(path: str | Path) -> Iterator[None]:
    """Remove `path`, and folders above it, if they came into being within the block and nothing is in them.

    A command that makes its folder and then fails leaves nothing to wonder about.
    """
    folder = Path(path).absolute()
    new = []
    with suppress(OSError, ValueError):
        for each in (folder, *folder.parents):
            if each.exists():
                break
            new.append(each)
    try:
        yield
    finally:
        # rmdir refuses one with anything in it, and those above it stay then too; a name can be none at all.
        with suppress(OSError, ValueError):
            for each in new:
                each.rmdir()


def check_writable(path: str | Path) -> None:
    """Try whether a file could be made beside `path`; nothing is left there.

    Raises
    ------
    OutputError
        It cannot: no permission, a read-only disk, a full one.
    """
    try:
        with TemporaryFile(dir=Path(path).absolute().parent) as file:
            file.write(b"x")
    except OSError as error:
        raise output_error(Path(path), error) from error


class Sink(FileIO):
    """A file for a library written in C to write to, which is never told of a failure; `check` tells.

    When a write fails under HDF5 its library keeps the broken file open, tries again as the process ends,
    and takes it down with a segmentation fault (seen with HDF5 2.0 on a full disk); torch forgets why it failed.
    """

    failure: BaseException | None = None

    def write(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        try:
            done = 0
            while done < len(view) and self.failure is None:
                done += super().write(view[done:])
        except BaseException as error:  # Ctrl-C here must not reach the library either; `check` passes it on
            self.failure = error
        return len(view)

    def truncate(self, size: int | None = None, /) -> int:
        try:
            super().truncate(size)
        except BaseException as error:
            self.failure = self.failure or error
        return size or 0

    def check(self, path: Path) -> None:
        """Raise what was remembered."""
        if isinstance(self.failure, OSError):
            raise output_error(path, self.failure) from self.failure
        if self.failure is not None:
            raise self.failure


@contextmanager
def atomic_output(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary path to write to; it takes the name `path` when the block ends without an error.

    The temporary file lies beside `path`, hidden, ending in ``.part`` (so tell a library that guesses the
    format from the name which one is meant). Whatever goes wrong, Ctrl-C included, it is removed and what
    was at `path` before stays as it was; what a killed process left is removed by the next that writes there
    (`mri_recon.leftovers`). Of several processes that write one name at once without `overwrite`, the first has
    it. Where `path` is a link, the file it points to is replaced.

    Raises
    ------
    OutputError
        `path` exists and `overwrite` is not set, is a folder, or cannot be written: the message says why.
    """
    asked = Path(path)
    final = _final_path(asked, overwrite=overwrite)
    clear_leftovers_once(final.parent)
    part = temporary_name(final)
    try:
        part.open("xb").close()  # a folder that cannot be written is known before the work, not after
        readers = stat.S_IMODE(part.stat().st_mode)
        yield part
        # Some libraries put another file there, which nobody else may read.
        if stat.S_IMODE(part.stat().st_mode) != readers:
            part.chmod(readers)
        with part.open("r+b") as file:
            os.fsync(file.fileno())
        if overwrite:
            part.replace(final)
        else:
            _give_name(part, final, asked)
        _sync_folder(final.parent)
    except OutputError:
        raise
    except Exception as error:
        if _is_about(error, part):
            raise output_error(asked, error) from error
        raise
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def release(path: Path) -> None:
    """Let the system use for other things the memory that it holds what was written to `path` in.

    Of a set of many files that is never read back at once, it would take ever new memory, which is slow, and give up
    for it what other programs read often.
    """
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError), path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextmanager
def atomic_folder(path: str | Path, *, overwrite: bool = False, suffix: str) -> Iterator[Path]:
    """Give a temporary folder to fill; it takes the name `path` when the block ends without an error.

    A folder that is there already is replaced only if it holds nothing but files ending in `suffix`.

    Raises
    ------
    OutputError
        `path` exists and `overwrite` is not set or it holds other files, or it cannot be written.
    """
    asked = Path(path)
    final = asked.absolute()
    _refuse_folder(asked, final, overwrite=overwrite, suffix=suffix)
    clear_leftovers_once(final.parent)
    part = temporary_name(final)
    old = part.with_suffix(".old")
    try:
        part.mkdir()
        yield part
        if final.exists():
            _refuse_folder(asked, final, overwrite=overwrite, suffix=suffix)
            final.rename(old)
        part.rename(final)
        _sync_folder(final.parent)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):  # another process was quicker
            raise _exists(asked) from error
        raise output_error(asked, error) from error
    finally:
        # Ctrl-C between the two renames as well: what was there comes back before anything is removed.
        if old.exists() and not os.path.lexists(final):
            old.rename(final)
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _give_name(part: Path, final: Path, asked: Path) -> None:
    """Give a file its name unless that was given meanwhile, in one step where the file system has hard links."""
    try:
        os.link(part, final)
    except FileExistsError as error:
        raise _exists(asked) from error
    except OSError:
        if final.exists():
            raise _exists(asked) from None
        part.replace(final)


def _refuse_folder(asked: Path, final: Path, *, overwrite: bool, suffix: str) -> None:
    if not os.path.lexists(final):
        return
    if final.is_symlink() or not final.is_dir():
        raise OutputError(f"Cannot write to {one_line(asked)}: it is not a folder. Choose another name.")
    if not overwrite:
        raise _exists(asked)
    other = next((p.name for p in final.iterdir() if p.suffix != suffix or not p.is_file()), None)
    if other is not None:
        raise OutputError(
            f"{one_line(asked)} holds other things than {suffix} files, such as {one_line(other)}, so it stays. "
            "Choose another name."
        )


def _final_path(path: Path, *, overwrite: bool) -> Path:
    try:
        final = path.resolve()
        mode = final.lstat().st_mode
    except FileNotFoundError:
        return final
    except (OSError, RuntimeError, ValueError) as error:  # Python 3.11 reports a loop as RuntimeError
        raise output_error(path, error) from error
    if stat.S_ISDIR(mode):
        raise OutputError(f"Cannot write {one_line(path)}: it is a folder. Give a file name inside it.")
    if not stat.S_ISREG(mode):
        raise OutputError(f"Cannot write {one_line(path)}: it is not a regular file. Give another name.")
    if not overwrite:
        raise _exists(path)
    return final


def _exists(path: Path) -> OutputError:
    return OutputError(
        f"{one_line(path)} exists. Replace it with --overwrite (overwrite=True), or choose another name."
    )


def _is_about(error: Exception, part: Path) -> bool:
    filename = getattr(error, "filename", None)
    if filename is not None:
        return str(filename) == str(part)
    return _error_number(error) in _ONLY_WRITING


def _error_number(error: BaseException) -> int | None:
    if isinstance(error, OSError):
        return error.errno
    # safetensors (Rust) and HDF5 (C) keep the system's number in the text only.
    found = re.search(r"\b(?:os error|errno =) (\d+)", str(error))
    return int(found.group(1)) if found else None


def _sync_folder(folder: Path) -> None:
    # The new name must survive a power cut as well; not every system can sync a folder, and none need fail.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
