"""Claim an output folder for a run: nothing that is there is replaced unless that was asked for.

What is there is read from the folder's manifest.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurodecorr._texts import short_repr
from neurodecorr._validation import checked_names, checked_path, checked_text, flag, mapping
from neurodecorr.errors import CheckpointError, InputError
from neurodecorr.io.atomic import require_writable
from neurodecorr.io.json import canonical_json, plain
from neurodecorr.io.manifest import MANIFEST, RunManifest, fingerprint, read_manifest, write_manifest
from neurodecorr.io.provenance import package_version, run_id

# Part of every identity: a change of what a run writes or means makes older runs other runs.
FORMAT = 2
# Settings that a message names at most.
_NAMED = 6


@short_repr
@dataclass(frozen=True)
class Claim:
    """Right to write a run into a folder.

    Parameters
    ----------
    folder : Path
        Where to.
    made : RunManifest
        What is to be made; its files are those already there, if it was made or begun before.
    state : {"new", "unfinished", "done"}
        "done": this very run is there, whole and unchanged. "unfinished": it was begun and not finished, or lost files.
    replaced : tuple of RunManifest
        Runs whose files `begin` removes.
    makes : tuple of str
        Names, or patterns, of the files that will be written.
    """

    folder: Path
    made: RunManifest
    state: str
    replaced: tuple[RunManifest, ...] = ()
    makes: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        """True if there is nothing left to do."""
        return self.state == "done"

    @property
    def identity(self) -> str:
        """The run's identity, which what is made from it names as its source."""
        return self.made.identity

    def begin(self) -> None:
        """Remove the files of the runs that are replaced, and note in the manifest that this one was begun.

        To be called just before the first file is written, when nothing more is likely to fail. Files that were
        changed since they were written stay where they are, unless the new run writes under their name.

        Raises
        ------
        CheckpointError
            If a file cannot be removed or the manifest not be written.
        """
        for old in self.replaced:
            _remove(self.folder, old)
        if not all(old.complete for old in self.replaced):  # one that was stopped had no time to list its files
            for name in _found(self.folder, self.makes):
                _unlink(self.folder, name)
        self._note(dataclasses.replace(self.made, complete=False))

    def finish(self, files: Iterable[Path], **facts: Any) -> Path:
        """List the files in the manifest, and return its path. A run that is not finished is not done.

        Parameters
        ----------
        files : iterable of Path
            What was written, inside the folder.
        **facts : JSON values
            What else the manifest is to tell: `provenance`.

        Raises
        ------
        CheckpointError
            If a file cannot be read or the manifest not be written.
        InputError
            If a file lies outside the folder.
        """
        listed: dict[str, tuple[int, str]] = {}
        for file in files:
            if not file.is_relative_to(self.folder):
                raise InputError(f"files of a run must lie in its folder {self.folder}; got {file}.")
            found = fingerprint(file)
            if found is None:
                raise CheckpointError(f"cannot read {file}, which was just written.")
            listed[file.relative_to(self.folder).as_posix()] = found
        made = dataclasses.replace(self.made, files=dict(sorted(listed.items())), complete=True)
        return self._note(dataclasses.replace(made, facts=plain(facts, "facts")))

    def _note(self, made: RunManifest) -> Path:
        gone = {made.identity, *(old.identity for old in self.replaced)}
        kept = [other for other in read_manifest(self.folder) if other.identity not in gone]
        return write_manifest(self.folder, (*kept, made))


def claim(
    folder: str | os.PathLike[str],
    kind: str,
    settings: Mapping[str, Any],
    *,
    makes: Sequence[str] = (),
    source: str | None = None,
    overwrite: bool = False,
) -> Claim:
    """Claim an output folder for a run, before any work; nothing is written or removed yet.

    - The same run (kind, settings, version of the package) is there, whole: the claim's state is "done".
    - It is there in part: "unfinished". The caller goes on, or makes it again.
    - Another run of its own is there, or another one of this kind that was made from the same source: refused.
    - The folder holds files under names that this run would write, and no manifest tells of them: refused.

    With `overwrite` the last two are accepted: `Claim.begin` removes the files of the run that is replaced and of
    everything made from it. Files that nobody listed, or that were changed since, are not removed.

    Parameters
    ----------
    folder : path-like
        Where to write; made by whoever writes first.
    kind : str
        What is made: "comparison".
    settings : mapping
        What decides the result, in JSON values: resolved options, and for data from a file its `content_hash`. Leave
        out what does not decide it: paths as typed, number of processes, verbosity.
    makes : sequence of str
        Names, or patterns such as "*.svg" and "traces/*", of the files that will be written.
    source : str, optional
        Identity of the run from which this one is made; without it the folder holds one run of its own.
    overwrite : bool, default False
        Whether another run may be replaced.

    Returns
    -------
    Claim
        Its `state` says whether there is anything to do; `begin` and `finish` go around the writing.

    Raises
    ------
    CheckpointError
        If the folder cannot be written, or holds what would be replaced. The message names what is there.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     first = claim(place, "note", {"words": 3}, makes=["note.txt"])
    ...     first.begin()
    ...     _ = (first.folder / "note.txt").write_text("one two three")
    ...     _ = first.finish([first.folder / "note.txt"])
    ...     first.state, claim(place, "note", {"words": 3}).state
    ('new', 'done')
    """
    place, known, makes, overwrite = _checked(folder, kind, settings, makes, overwrite)
    if source is not None:
        checked_text(source, "source")
    require_writable(place)
    made = RunManifest(kind, _identity(kind, known, source), known, complete=False, source=source)
    there = read_manifest(place)
    same = next((run for run in there if run.identity == made.identity), None)
    if same is not None and not (changed := same.changed(place)):
        state = "done" if same.complete and not same.missing(place) else "unfinished"
        return Claim(place, dataclasses.replace(made, files=same.files), state, makes=tuple(makes))
    rivals = [run for run in there if run is same or _clash(run, kind, source)]
    strangers = _strangers(place, there, makes)
    if not overwrite:
        if same is not None:
            raise _refusal(place, f"this {kind}, but {_names(changed)} changed since it was written")
        if rivals:
            raise _refusal(place, _difference(rivals[0], made))
        if strangers:
            raise _refusal(place, f"{_names(strangers)}, of which no {MANIFEST} tells who made them")
    return Claim(place, made, "new", (*rivals, *_dependents(rivals, there)), tuple(makes))


def reclaim(
    folder: str | os.PathLike[str],
    kind: str,
    settings: Mapping[str, Any],
    *,
    makes: Sequence[str] = (),
    overwrite: bool = False,
) -> Claim:
    """Claim an output folder to write the files of the run in it once more, from its own result.

    Parameters
    ----------
    folder : path-like
        Where the run is.
    kind, settings, makes
        As in `claim`, for a folder without a manifest.
    overwrite : bool, default False
        Whether files may be replaced that were changed since, or that nobody listed.

    Returns
    -------
    Claim
        Its state is "unfinished".

    Raises
    ------
    CheckpointError
        As `claim` does.
    """
    place, known, makes, overwrite = _checked(folder, kind, settings, makes, overwrite)
    there = read_manifest(place)
    own = next((run for run in there if run.kind == kind and run.source is None), None)
    if own is None:
        return claim(place, kind, known, makes=makes, overwrite=overwrite)
    require_writable(place)
    changed, strangers = own.changed(place), _strangers(place, there, makes)
    if changed and not overwrite:
        raise _refusal(place, f"{_names(changed)}, changed since it was written")
    if strangers and not overwrite:
        raise _refusal(place, f"{_names(strangers)}, of which {MANIFEST} does not tell who made them")
    return Claim(place, own, "unfinished", makes=tuple(makes))


def _checked(
    folder: Any, kind: Any, settings: Any, makes: Any, overwrite: Any
) -> tuple[Path, dict[str, Any], Sequence[str], bool]:
    """Check what a claim is asked with; settings come back as plain values."""
    place = checked_path(folder, "folder")
    checked_text(kind, "kind")
    names, free = checked_names(makes, "makes"), flag(overwrite, "overwrite")
    return place, plain(mapping(settings, "settings"), "settings"), names, free


def _identity(kind: str, settings: Any, source: str | None) -> str:
    version = package_version("neurodecorr")
    return run_id({"kind": kind, "settings": settings, "source": source, "version": version, "format": FORMAT})


def _clash(run: RunManifest, kind: str, source: str | None) -> bool:
    """Return whether two runs cannot share a folder: both stand on their own, or both are of one kind."""
    return (source is None and run.source is None) or run.kind == kind


def _dependents(rivals: Sequence[RunManifest], there: Sequence[RunManifest]) -> list[RunManifest]:
    sources = {run.identity for run in rivals}
    return [run for run in there if run.source in sources and run not in rivals]


def _strangers(folder: Path, there: Sequence[RunManifest], makes: Sequence[str]) -> list[str]:
    """Return the files under names that will be written, of which no manifest tells."""
    if any(not run.complete for run in there):  # one that was stopped had no time to list its files
        return []
    listed = {name for run in there for name in run.files}
    return [name for name in _found(folder, makes) if name not in listed]


def _found(folder: Path, makes: Sequence[str]) -> list[str]:
    """Return the names of what is there under these names and patterns."""
    paths = {path for one in makes for path in folder.glob(one) if not path.is_dir() or path.is_symlink()}
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def _remove(folder: Path, made: RunManifest) -> None:
    """Remove the files of a run that are as it wrote them."""
    for name, known in made.files.items():
        if fingerprint(folder / name) == known:
            _unlink(folder, name)


def _unlink(folder: Path, name: str) -> None:
    """Remove a file, if no link leads to it out of the folder, and the folders inside that are left empty."""
    path = folder / name
    try:
        if path.parent.resolve().is_relative_to(folder.resolve()):
            path.unlink()
            for parent in path.relative_to(folder).parents[:-1]:
                if any((folder / parent).iterdir()):
                    break
                (folder / parent).rmdir()
    except OSError as error:
        raise CheckpointError(f"cannot remove {path}: {error.strerror or error}.") from error


def _refusal(folder: Path, words: str) -> CheckpointError:
    return CheckpointError(
        f"{folder} holds {words}. Choose another folder with --out, or replace what is there with --overwrite."
    )


def _difference(old: RunManifest, new: RunManifest) -> str:
    """Describe the run in the folder by the settings in which it differs."""
    kind = f"{'an' if old.kind[:1] in 'aeiou' else 'a'}{'' if old.complete else ' unfinished'} {old.kind}"
    kind = kind if old.complete else kind.replace("a unfinished", "an unfinished")
    if old.kind != new.kind:
        return f"{kind} ({_format_settings(old.settings, list(old.settings)[:_NAMED])})"
    names = [*old.settings, *(name for name in new.settings if name not in old.settings)]
    other = [name for name in names if _raw(old.settings, name) != _raw(new.settings, name)]
    if not other:
        return f"{kind} with these settings that another version of neurodecorr made, or from another source"
    before, now = (_format_settings(run.settings, other[:_NAMED]) for run in (old, new))
    return f"{kind} of {before}, where now {now}"


def _format_settings(settings: Mapping[str, Any], names: Iterable[str]) -> str:
    return ", ".join(f"{name} {_text(settings, name)}" for name in names) or "no settings"


def _raw(settings: Mapping[str, Any], name: str) -> str | None:
    return canonical_json(settings[name]) if name in settings else None


def _text(settings: Mapping[str, Any], name: str) -> str:
    """Spell a setting in at most 40 characters; hashes keep their first twelve."""
    if name not in settings:
        return "not given"
    value = settings[name]
    text = value if isinstance(value, str) else canonical_json(value)
    return f"{text[:12]}…" if len(text) == 64 else text if len(text) <= 40 else f"{text[:39]}…"


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
