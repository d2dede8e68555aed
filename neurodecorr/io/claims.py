"""Who made what in an output folder: nothing that is there is replaced unless that was asked for.

What is there is read from the folder's manifest.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurodecorr._validation import checked_names, checked_path, checked_text, flag, mapping
from neurodecorr.errors import CheckpointError, InputError
from neurodecorr.io.atomic import LOCKS, hold, require_writable
from neurodecorr.io.json import canonical_json, plain
from neurodecorr.io.manifest import MANIFEST, RunManifest, fingerprint, read_manifest, write_manifest
from neurodecorr.io.provenance import package_version, run_id

AT_FDCWD, RENAME_EXCHANGE = -100, 2


@contextlib.contextmanager
def filling_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder beside `target`, which nobody takes for abandoned, and remove it at the end.

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
    """Put a folder in the place of `target`; what was there before has the other's name afterwards, or is removed.

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
    """Return the folder to read: `target`, or where the older one stands if a replacement was killed half-way."""
    if os.path.lexists(target) or not target.name:
        return target
    older = _older(target)
    return older if older.is_dir() and not older.is_symlink() else target


def recover(target: Path) -> None:
    """Give the older folder its name back if a replacement was killed half-way."""
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


# Part of every identity: a change of what a run writes or means makes older runs other runs.
FORMAT = 2
# Settings that a message names at most.
_NAMED = 6


@dataclass(frozen=True)
class Claim:
    """The right to write a run into a folder.

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
        """Whether there is nothing left to do."""
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
            raise _refusal(place, _told(rivals[0], made))
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
    """Claim a folder to write the files of the run that is there once more, from its own result.

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
    """Whether two runs cannot share a folder: both stand on their own, or both are of one kind."""
    return (source is None and run.source is None) or run.kind == kind


def _dependents(rivals: Sequence[RunManifest], there: Sequence[RunManifest]) -> list[RunManifest]:
    sources = {run.identity for run in rivals}
    return [run for run in there if run.source in sources and run not in rivals]


def _strangers(folder: Path, there: Sequence[RunManifest], makes: Sequence[str]) -> list[str]:
    """Files under names that will be written, of which no manifest tells."""
    if any(not run.complete for run in there):  # one that was stopped had no time to list its files
        return []
    listed = {name for run in there for name in run.files}
    return [name for name in _found(folder, makes) if name not in listed]


def _found(folder: Path, makes: Sequence[str]) -> list[str]:
    """Names of what is there under these names and patterns."""
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


def _told(old: RunManifest, new: RunManifest) -> str:
    """Say which run is there, by the settings in which it differs."""
    kind = f"{'an' if old.kind[:1] in 'aeiou' else 'a'}{'' if old.complete else ' unfinished'} {old.kind}"
    kind = kind if old.complete else kind.replace("a unfinished", "an unfinished")
    if old.kind != new.kind:
        return f"{kind} ({_spelt(old.settings, list(old.settings)[:_NAMED])})"
    names = [*old.settings, *(name for name in new.settings if name not in old.settings)]
    other = [name for name in names if _raw(old.settings, name) != _raw(new.settings, name)]
    if not other:
        return f"{kind} with these settings that another version of neurodecorr made, or from another source"
    return f"{kind} of {_spelt(old.settings, other[:_NAMED])}, where now {_spelt(new.settings, other[:_NAMED])}"


def _spelt(settings: Mapping[str, Any], names: Iterable[str]) -> str:
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
