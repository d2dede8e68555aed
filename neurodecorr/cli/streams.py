"""Where output leaves the process: standard output and standard error that take every letter and obey no text."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from neurodecorr._texts import encodable, printable


class _Plain:
    """A stream of text in front of another one, which is given what it can encode and what only shows.

    Parameters
    ----------
    stream : text stream
        Where the text goes.
    keep : str
        Which controls pass.
    """

    # Whoever asks before writing: every letter may come.
    encoding, errors = "utf-8", "strict"

    def __init__(self, stream: Any, keep: str) -> None:
        self._stream, self._keep = stream, keep

    def write(self, text: str) -> int:
        """Write a text, and return its length."""
        own = getattr(self._stream, "encoding", None) or "utf-8"
        self._stream.write(encodable(printable(text, self._keep), own))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __iter__(self) -> Iterator[str]:
        return iter(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def beneath(stream: Any) -> Any:
    """Return the stream in front of which one of `plain_output` stands, which codes of a terminal may go to."""
    return getattr(stream, "_stream", stream) if isinstance(stream, _Plain) else stream


@contextlib.contextmanager
def plain_output() -> Iterator[None]:
    """Have standard output and standard error take every letter and obey no text, while the block runs.

    A letter that the encoding of the stream lacks is transliterated. A progress bar returns to the start of its line,
    on standard error only.
    """
    before = sys.stdout, sys.stderr
    if sys.stdout is not None:
        sys.stdout = _Plain(sys.stdout, "\n\t")
    if sys.stderr is not None:
        sys.stderr = _Plain(sys.stderr, "\n\t\r")
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
