"""How much memory there is, asked before much of it is taken."""

from __future__ import annotations

import os
from pathlib import Path

from neurodecorr.errors import InputError

# In containers: the limit of the group of processes that this one belongs to, its account, and the line of the account
# that cannot be given back; both versions of the interface.
_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.stat", "anon"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.stat", "rss"),
)
# What is too little to ask about, in bytes.
_SMALL = 2**28


def available() -> int | None:
    """Return the bytes that can be had without swapping; None where the system does not say."""
    found = [room for room in (_of_machine(), *(_of_group(*paths) for paths in _GROUPS)) if room is not None]
    return min(found, default=None)


def require_memory(needed: float, what: str, advice: str = "") -> None:
    """Raise if so much memory cannot be had, before any of it is taken.

    Parameters
    ----------
    needed : float
        Bytes, estimated.
    what : str
        What needs it: "5,000 units".
    advice : str
        What to do.

    Raises
    ------
    InputError
        If less is available.
    """
    if needed < _SMALL:
        return
    room = available()
    if room is not None and needed > room:
        raise InputError(
            f"{what} must fit in memory: it takes about {spelt_bytes(int(needed))}, and {spelt_bytes(room)} are free."
            f"{f' {advice}' if advice else ''}"
        )


def spelt_bytes(count: float) -> str:
    """Return a number of bytes in words: "1.6 GB".

    Parameters
    ----------
    count : float
        Bytes.
    """
    unit, name = next(
        ((10**p, n) for p, n in ((12, "TB"), (9, "GB"), (6, "MB"), (3, "kB")) if count >= 10**p), (1, "B")
    )
    return f"{count / unit:.3g} {name}"


def _of_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, IndexError, StopIteration):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _of_group(limit: str, account: str, line: str) -> int | None:
    try:
        lines = dict(text.split(maxsplit=1) for text in Path(account).read_text("ascii").splitlines())
        return max(0, int(Path(limit).read_text("ascii")) - int(lines[line]))
    except (OSError, ValueError, KeyError):  # no such group, or "max"
        return None
