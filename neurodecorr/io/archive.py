"""Write and read folders and zip files as one: they appear whole or not at all, and nothing in them is trusted."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import stat
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from neurodecorr._validation import checked_path, count
from neurodecorr.errors import CheckpointError
from neurodecorr.io.atomic import LOCKS, hold, write_atomically
from neurodecorr.io.files import distinct_names, read_regular
from neurodecorr.io.npz import EPOCH, check_total, open_zip

# Limits on folders and zip files of unknown origin, checked before memory is taken or a name is followed.
MAX_BYTES = 2**30
MAX_FILES = 4096
DEPTH = 3
# Of renameat2(2): paths from the working folder; exchange two names at once.
AT_FDCWD, RENAME_EXCHANGE = -100, 2


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str], marker: str) -> Iterator[Path]:
    """Yield an empty folder, and put it in the place of `path` if the block ends without an error.

    If the block raises, nothing is left of it and an older folder at `path` is untouched. If the process is killed, at
    whatever moment, `read_files` finds the older folder or the new one, whole; what else is left is removed by the next
    writer.

    Parameters
    ----------
    path : path-like
        The folder to write.
    marker : str
        Name of a file that every such folder holds. A folder that has other content but not this file is not replaced.

    Yields
    ------
    Path
        The folder to fill, beside `path`.

    Raises
    ------
    CheckpointError
        If something else is at `path`, or it cannot be written.
    """
    target = Path(os.path.abspath(checked_path(path, "path")))  # noqa: PTH100 - links keep their names
    try:
        recover(target)
        _require_replaceable(target, marker)
        with filling_folder(target) as folder:
            yield folder
            _synchronise(folder)
            put_in_place(folder, target)
    except CheckpointError:
        raise
    except OSError as error:
        problem = CheckpointError(f"cannot write {target}: {error.strerror or error}. An older one is unchanged.")
        problem.errno = error.errno
        raise problem from error


def write_zip(path: str | os.PathLike[str], files: Mapping[str, bytes]) -> Path:
    """Write files into one zip file, atomically; equal content gives equal bytes.

    Parameters
    ----------
    path : path-like
        The zip file.
    files : mapping of str to bytes
        Relative names, "layer0/R.csv" say, and contents.

    Returns
    -------
    Path
        The path written.

    Raises
    ------
    CheckpointError
        If a name is not relative and plain, or the file cannot be written.

    References
    ----------
    PKWARE, .ZIP File Format Specification (APPNOTE) 6.3.
    """
    with write_atomically(path, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as container:
        for name, data in files.items():
            # A fixed date, so that the bytes depend on nothing but the content.
            info = zipfile.ZipInfo(relative_name(name, str(path)), EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            container.writestr(info, data)
    return Path(path)


def read_files(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> dict[str, bytes]:
    """Return the files in a folder or a zip file, by relative name.

    Nothing outside is read: no link is followed, no name may leave the folder. Sizes are checked before memory is
    taken. Hidden files of a folder, which file managers leave behind, are passed over.

    Parameters
    ----------
    path : path-like
        The folder or the zip file.
    max_bytes : int, default 1 GiB
        The most that all files may hold together, decompressed.

    Returns
    -------
    dict of str to bytes
        Sorted by name.

    Raises
    ------
    CheckpointError
        If it is missing, damaged, too large, or hostile.
    """
    limit, place = count(max_bytes, "max_bytes"), whole_folder(checked_path(path, "path"))
    found = _folder_files(place, limit) if place.is_dir() else _zip_files(place, limit)
    return dict(sorted(found.items()))


def relative_name(name: str, place: str) -> str:
    """Return `name` if it names a file inside: parts of printable letters with single slashes between them.

    Raises
    ------
    CheckpointError
        If a part is empty, begins with a dot, or holds a backslash, a colon or a letter that cannot be printed; if
        there are more than three parts, or more than 200 bytes.
    """
    parts = name.split("/")
    plain = all(part and part[0] != "." and part.isprintable() and not set(part) & set('\\:*?"<>|') for part in parts)
    if not plain or len(parts) > DEPTH or len(name.encode(errors="replace")) > 200:
        raise CheckpointError(
            f"{place} must hold plain names of files inside it; got {name!r}. It is hostile or damaged."
        )
    return name


def _zip_files(path: Path, limit: int) -> dict[str, bytes]:
    with open_zip(str(path), "zip file", limit) as (container, infos):
        _check_number(len(infos), path)
        for info in infos:
            relative_name(info.filename, str(path))
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
                raise CheckpointError(f"{path} must hold files only; {info.filename!r} is a link or a device.")
        names = distinct_names([info.filename for info in infos], str(path))
        return {name: container.read(info) for name, info in zip(names, infos, strict=True)}


def _folder_files(path: Path, limit: int) -> dict[str, bytes]:
    found = list(_regular_files(path, path, DEPTH))
    _check_number(len(found), path)
    names = distinct_names([file.relative_to(path).as_posix() for file in found], str(path))
    check_total(sum(file.lstat().st_size for file in found), limit, str(path))
    contents = {}
    for name, file in zip(names, found, strict=True):
        contents[relative_name(name, str(path))] = read_regular(file, limit, follow=False)
        limit -= len(contents[name])
    return contents


def _regular_files(folder: Path, top: Path, depth: int) -> Iterator[Path]:
    for file in sorted(folder.iterdir()):
        if file.name.startswith("."):
            continue
        mode = file.lstat().st_mode
        if stat.S_ISDIR(mode) and depth > 1:
            yield from _regular_files(file, top, depth - 1)
        elif stat.S_ISREG(mode):
            yield file
        else:
            raise CheckpointError(f"{top} must hold regular files only; {file.relative_to(top)} is a link or no file.")


def _check_number(files: int, path: Path) -> None:
    if files > MAX_FILES:
        raise CheckpointError(f"{path} must hold at most {MAX_FILES} files; it holds {files}.")


def _require_replaceable(target: Path, marker: str) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise CheckpointError(f"cannot write the folder {target}: a file or a link of that name is there.")
    if target.is_dir() and not (target / marker).is_file() and any(target.iterdir()):
        raise CheckpointError(
            f"cannot replace {target}: it holds other files and no {marker}. Choose a new folder, or empty it."
        )


def _synchronise(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb+") as opened:
                os.fsync(opened.fileno())


@contextlib.contextmanager
def filling_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target` and remove it at the end; other writers leave it alone.

    Folders that writers of `target` left when they were killed are removed before.

    Parameters
    ----------
    target : Path
        The folder that it will replace.

    Yields
    ------
    Path
        The empty folder.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    begin = f".{_stem(target)}."
    for other in [one for one in target.parent.iterdir() if one.name.startswith(begin) and one.suffix == ".tmp"]:
        _remove_abandoned(other)
    folder, handle = _own_folder(target)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def put_in_place(folder: Path, target: Path) -> None:
    """Put a folder in the place of `target`; the old one gets the other's name afterwards, or is removed.

    Where the system can exchange two names at once, `target` is whole at every moment, whoever is killed when.
    Elsewhere the older folder stands under another name for a moment, where `whole_folder` and `recover` find it.

    Parameters
    ----------
    folder, target : Path
        Beside each other.
    """
    if not target.exists():
        folder.rename(target)
    elif not _exchange(folder, target):
        _replace_in_two_steps(folder, target)


def whole_folder(target: Path) -> Path:
    """Return the folder to read: `target`, or the older one if a replacement was killed half-way."""
    if os.path.lexists(target) or not target.name:
        return target
    older = _older(target)
    return older if older.is_dir() and not older.is_symlink() else target


def recover(target: Path) -> None:
    """Restore the name of the older folder if a replacement was killed half-way."""
    if whole_folder(target) != target:
        _older(target).rename(target)


def _replace_in_two_steps(folder: Path, target: Path) -> None:
    older = _older(target)
    shutil.rmtree(older, ignore_errors=True)  # of a replacement that was killed after its last step
    target.rename(older)
    try:
        folder.rename(target)
    except BaseException:
        older.rename(target)
        raise
    shutil.rmtree(older, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names at once, and return whether the system can."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # no such function, or no such library
        return False
    paths = (ctypes.c_char_p(os.fsencode(path.absolute())) for path in (one, other))
    first, second = paths
    return bool(rename(AT_FDCWD, first, AT_FDCWD, second, RENAME_EXCHANGE) == 0)


def _own_folder(target: Path) -> tuple[Path, int]:
    """Return a new folder beside `target` and the handle that holds it, which no other writer may remove now."""
    while True:
        folder = target.with_name(f".{_stem(target)}.{secrets.token_hex(6)}.tmp")
        folder.mkdir()
        with contextlib.suppress(FileNotFoundError):
            handle = os.open(folder if LOCKS else os.devnull, os.O_RDONLY)
            # In the moment before it was held, another writer may have taken it for abandoned: then once more.
            if hold(handle) is not False and folder.exists():
                return folder, handle
            os.close(handle)


def _remove_abandoned(folder: Path) -> None:
    """Remove a folder that nobody alive fills."""
    if not LOCKS:
        return
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            if hold(handle):
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(handle)


def _older(target: Path) -> Path:
    return target.with_name(f".{_stem(target)}.old")


def _stem(target: Path) -> str:
    return target.name.encode()[:100].decode(errors="ignore")
