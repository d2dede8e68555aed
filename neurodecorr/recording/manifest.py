"""The manifest of an output folder: which runs wrote into it, with which settings, and their files.

`manifest.json` lists the run itself, and what was made from it later, such as a budget. Files have their checksums.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from neurodecorr._checks import checked_path, choice
from neurodecorr.errors import CheckpointError, InputError
from neurodecorr.recording.atomic import write_json
from neurodecorr.recording.contents import file_hash
from neurodecorr.recording.documents import read_json

__all__ = ["MANIFEST", "Made", "fingerprint", "made_in", "write_manifest"]

MANIFEST = "manifest.json"
SCHEMA, VERSION = "neurodecorr-manifest", 2
_MOST_BYTES = 2**26


@dataclass(frozen=True)
class Made:
    """One run that wrote into a folder, as the manifest tells it.

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


def made_in(folder: str | os.PathLike[str]) -> tuple[Made, ...]:
    """Return the runs that wrote into a folder; none where there is no manifest.

    Parameters
    ----------
    folder : path-like
        The folder.

    Returns
    -------
    tuple of Made
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


def write_manifest(folder: Path, runs: Iterable[Made]) -> Path:
    """Write the manifest of a folder, atomically, and return its path.

    Parameters
    ----------
    folder : Path
        The folder.
    runs : iterable of Made
        All runs that it is to list.
    """
    listed = [_document(run) for run in runs]
    return write_json(folder / MANIFEST, {"schema": SCHEMA, "version": VERSION, "runs": listed})


def fingerprint(path: Path) -> tuple[int, str] | None:
    """Return size and SHA-256 of a regular file, or None if there is none that can be read.

    Parameters
    ----------
    path : Path
        The file.
    """
    try:
        return path.stat().st_size, file_hash(path)
    except (OSError, InputError):
        return None


def _made(run: Any) -> Made:
    """Return a run from its part of a manifest, of which nothing is believed."""
    texts = {name: run[name] for name in ("kind", "identity")}
    source, settings, facts = run.get("source"), run["settings"], run.get("facts", {})
    if not all(isinstance(text, str) for text in (*texts.values(), source or "")):
        raise TypeError("kind, identity and source must be texts")
    if not isinstance(settings, dict) or not isinstance(facts, dict) or not isinstance(run["complete"], bool):
        raise TypeError("settings and facts must be objects, complete true or false")
    files = {_inside(file["name"]): (int(file["bytes"]), str(file["sha256"])) for file in run["files"]}
    return Made(**texts, settings=settings, complete=run["complete"], files=files, source=source, facts=facts)


def _inside(name: Any) -> str:
    """Return the name of a file if it cannot lead out of the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name or ":" in name:
        raise ValueError(f"{name!r} is no file inside the folder")
    return str(path)


def _document(made: Made) -> dict[str, Any]:
    files = [{"name": name, "bytes": size, "sha256": digest} for name, (size, digest) in made.files.items()]
    return {**{item.name: getattr(made, item.name) for item in dataclasses.fields(made)}, "files": files}
