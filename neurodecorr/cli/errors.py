"""Errors of the command line: one line each, the nearest name for a misspelt one, no traceback on Ctrl-C."""

from __future__ import annotations

import contextlib
import difflib
import errno
import gc
import sys
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import BrokenExecutor
from typing import Any, TextIO

import click

from neurodecorr._texts import encodable, printable
from neurodecorr.errors import CheckpointError, ConfigError, DivergenceError, InputError, StabilityError


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
    """Return the stream behind a `plain_output`, to which terminal codes may be written."""
    return getattr(stream, "_stream", stream) if isinstance(stream, _Plain) else stream


@contextlib.contextmanager
def plain_output() -> Iterator[None]:
    """Make standard output and standard error accept every letter and ignore control codes in texts.

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


DEBUG = "debug"
WRITTEN = "neurodecorr.written"  # what an interrupted command has left on disk, kept in the context
NOTHING = "nothing was written"
BAD_INPUT = (InputError, ConfigError)
FAILED = (StabilityError, DivergenceError, CheckpointError, OSError, MemoryError)
INTERRUPTED = 130


class Shell(click.Group):
    """Group of commands that reports errors in plain words."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Parse the command line and run, with output that any stream takes."""
        with plain_output():
            return super().main(*args, **options)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or name the nearest one."""
        if self.get_command(ctx, args[0]) is None:
            ctx.fail(f"No such command {args[0]!r}.{_near(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; end with 2 for input that cannot be used, 1 for what failed, 130 if interrupted."""
        if ctx.params.get(DEBUG):
            return super().invoke(ctx)
        try:
            with _plain_warnings(), _rare_collection():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo(f"\nInterrupted; {ctx.meta.get(WRITTEN, NOTHING)}.", err=True)
            ctx.exit(INTERRUPTED)
        except BrokenExecutor:
            _say("Error", f"a worker process was killed, perhaps for want of memory; {ctx.meta.get(WRITTEN, NOTHING)}. "
                 "Fewer --jobs need less.")  # fmt: skip
            ctx.exit(1)
        except BAD_INPUT as error:
            _say("Error", error)
            ctx.exit(2)
        except FAILED as error:
            if getattr(error, "errno", None) == errno.EPIPE:  # the reader of a pipe went away; click knows what to do
                raise
            _say("Error", error)
            ctx.exit(1)


class Choice(click.Choice):  # type: ignore[type-arg]  # generic only from click 8.2 on
    """Parameter that is one of some names; the error suggests the nearest name."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the name, or fail with the nearest one."""
        if str(value) not in self.choices:
            names = ", ".join(map(repr, self.choices))
            self.fail(f"{value!r} is not one of {names}.{_near(str(value), self.choices)}", param, ctx)
        return super().convert(value, param, ctx)


class RuleChoice(Choice):
    """Parameter that is one of the learning rules, by any name that the library accepts."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the name by which the library knows the rule, or fail as it does."""
        from neurodecorr._validation import rule_name

        try:
            return super().convert(rule_name(value, self.choices, param.name if param else "rule"), param, ctx)
        except ConfigError as error:
            self.fail(str(error), param, ctx)


def _near(name: str, known: Any) -> str:
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {found[0]!r}?" if found else ""


def _say(kind: str, problem: object) -> None:
    words = " ".join(str(problem).split()) or type(problem).__name__
    click.echo(f"{kind}: {words}", err=True)


@contextlib.contextmanager
def _rare_collection() -> Iterator[None]:
    """Look for garbage rarely: modules, kernels and figures stay; looking them over takes a sixth of a short run."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show a warning as one line on standard error, without the place in the code."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        _say("Warning", message)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
