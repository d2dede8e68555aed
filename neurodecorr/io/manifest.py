"""The manifest of an output folder: which runs wrote into it, with which settings, and their files.

`manifest.json` lists the run itself, and what was made from it later, such as a budget. Files have their checksums.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from neurodecorr._texts import short_repr
from neurodecorr._validation import checked_path, choice
from neurodecorr.errors import CheckpointError, InputError
from neurodecorr.io.atomic import write_json
from neurodecorr.io.json import read_json

# A file is hashed piece by piece, so that memory does not grow with its size.
_PIECE = 2**20


def content_hash(path: str | os.PathLike[str]) -> str:
    """Return a hash of the file or folder at `path`; its path and the times of writing play no part.

    ::

        file:    SHA-256(bytes)
        folder:  SHA-256(names and SHA-256 of all files in it, in order of their names)

    Parameters
    ----------
    path : path-like
        A file, or a folder. In a folder, hidden files and all that is no regular file are left out.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    InputError
        If there is nothing, it is neither a regular file nor a folder, or cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "a.txt").write_bytes(b"")
    ...     content_hash(Path(folder) / "a.txt")[:16]
    'e3b0c44298fc1c14'

    References
    ----------
    NIST (2015), FIPS 180-4 (SHA-256).
    """
    place = checked_path(path)
    try:
        if not place.is_dir():
            return file_hash(place)
        whole = hashlib.sha256()
        for file in _files(place):
            whole.update(
                f"{file.relative_to(place).as_posix()}\0{file_hash(file)}\n".encode("utf-8", "surrogateescape")
            )
        return whole.hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {place}: {error.strerror or error}.") from error


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a regular file; refuse a pipe or a device, whose reading might never end.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    InputError
        If it is no regular file.
    OSError
        If it cannot be read.

    References
    ----------
    NIST (2015), FIPS 180-4 (SHA-256).
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise InputError(f"{path} must be a regular file or a folder.")
    whole = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            whole.update(piece)
    return whole.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    """Yield the regular files below a folder that are not hidden, sorted; behind links too, no folder inside itself."""
    for place, folders, names in os.walk(folder, followlinks=True):
        above = {os.path.realpath(part) for part in (Path(place), *Path(place).parents)}
        inner = sorted(name for name in folders if not name.startswith("."))
        folders[:] = [
            name
            for name in inner
            if not Path(place, name).is_symlink() or os.path.realpath(Path(place, name)) not in above
        ]
        for name in sorted(names):
            file = Path(place, name)
            if not name.startswith(".") and file.is_file():
                yield file


MANIFEST = "manifest.json"
SCHEMA, VERSION = "neurodecorr-manifest", 2
# Far above any manifest that the library writes; a larger file is not read.
_MOST_BYTES = 2**26


@short_repr
@dataclass(frozen=True)
class RunManifest:
    """Description of one run that wrote into a folder, as its manifest lists it.

    Parameters
    ----------
    kind : str
        What was made: "comparison", "training run", "budget", …
    identity : str
        A hash of kind, settings, version and format.
    settings : dict
        What decided the result, hashes of data included.
    complete : bool
        Whether it came to its end.
    files : dict of str to (int, str)
        Names, relative to the folder, with their sizes in bytes and SHA-256.
    source : str or None
        Identity of the run that it was made from; None for a run of its own.
    facts : dict
        Whatever else the run tells: provenance.
    """

    kind: str
    identity: str
    settings: dict[str, Any]
    complete: bool
    files: dict[str, tuple[int, str]] = field(default_factory=dict)
    source: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def missing(self, folder: Path) -> list[str]:
        """Names of its files that are gone."""
        return [name for name in self.files if not (folder / name).is_file()]

    def changed(self, folder: Path) -> list[str]:
        """Names of its files that are no longer what it wrote."""
        return [name for name, known in self.files.items() if fingerprint(folder / name) not in (None, known)]


def read_manifest(folder: str | os.PathLike[str]) -> tuple[RunManifest, ...]:
    """Return the runs that wrote into a folder; an empty list without a manifest.

    Parameters
    ----------
    folder : path-like
        The folder.

    Returns
    -------
    tuple of RunManifest
        In the order in which they were noted.

    Raises
    ------
    CheckpointError
        If there is a manifest that cannot be read or names files outside the folder.
    """
    path = checked_path(folder, "folder") / MANIFEST
    if not path.is_file():
        return ()
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise CheckpointError(f"{path} must hold at most {_MOST_BYTES:,} bytes.")
        document = read_json(path.read_bytes(), str(path))
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}.") from error
    try:
        if choice(document.get("schema"), "schema", [SCHEMA]) and document["version"] == 1:
            return (_made({**document, "settings": document["config"], "identity": "", "complete": True}),)
        if document["version"] != VERSION:
            raise ValueError(f"version must be {VERSION}; got {document['version']!r}")
        return tuple(_made(run) for run in document["runs"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{path} must be a manifest of this version of neurodecorr: {type(error).__name__}: {error}. Choose "
            "another folder, or remove this file if its runs may be replaced."
        ) from error


def write_manifest(folder: Path, runs: Iterable[RunManifest]) -> Path:
    """Write the manifest of a folder, atomically, and return its path.

    Parameters
    ----------
    folder : Path
        The folder.
    runs : iterable of RunManifest
        All runs that it is to list.
    """
    listed = [_document(run) for run in runs]
    return write_json(folder / MANIFEST, {"schema": SCHEMA, "version": VERSION, "runs": listed})


def fingerprint(path: Path) -> tuple[int, str] | None:
    """Return size and SHA-256 of a regular file, or None if there is no readable one.

    Parameters
    ----------
    path : Path
        The file.
    """
    try:
        return path.stat().st_size, file_hash(path)
    except (OSError, InputError):
        return None


def _made(run: Any) -> RunManifest:
    """Return a run from its part of a manifest, of which nothing is believed."""
    texts = {name: run[name] for name in ("kind", "identity")}
    source, settings, facts = run.get("source"), run["settings"], run.get("facts", {})
    if not all(isinstance(text, str) for text in (*texts.values(), source or "")):
        raise TypeError("kind, identity and source must be texts")
    if not isinstance(settings, dict) or not isinstance(facts, dict) or not isinstance(run["complete"], bool):
        raise TypeError("settings and facts must be objects, complete true or false")
    files = {_inside(file["name"]): (int(file["bytes"]), str(file["sha256"])) for file in run["files"]}
    return RunManifest(**texts, settings=settings, complete=run["complete"], files=files, source=source, facts=facts)


def _inside(name: Any) -> str:
    """Return the name of a file if it cannot lead out of the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name or ":" in name:
        raise ValueError(f"{name!r} is no file inside the folder")
    return str(path)


def _document(made: RunManifest) -> dict[str, Any]:
    files = [{"name": name, "bytes": size, "sha256": digest} for name, (size, digest) in made.files.items()]
    return {**{item.name: getattr(made, item.name) for item in dataclasses.fields(made)}, "files": files}
