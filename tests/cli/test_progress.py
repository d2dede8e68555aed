"""Progress: a bar in a terminal, lines in a log, nothing when it is not wanted."""

import contextlib
import io
import sys
from unittest import mock

import pytest

from neurodecorr.cli import progress
from neurodecorr.cli.errors import plain_output
from neurodecorr.cli.progress import progress_bar


class Terminal(io.StringIO):
    encoding = "ascii"

    def isatty(self):
        return True


@contextlib.contextmanager
def terminal():
    """Standard error that is a terminal; made in the test, as pytest puts its own in place before."""
    with mock.patch.dict("os.environ", TERM="xterm"), mock.patch.object(sys, "stderr", Terminal()) as stream:
        yield stream


def test_a_terminal_gets_a_bar_and_remarks_above_it():
    with terminal() as stream, plain_output(), progress_bar() as tell:
        tell("about [red] 2 τ \x1b[2J", 0, 0)
        for done in range(5):
            tell("settling τ", done, 4)
    shown = stream.getvalue()
    assert "about [red] 2 tau \\x1b[2J" in shown and "settling tau" in shown and "100%" in shown
    assert "\\x1b[?25" not in shown  # its own codes are obeyed


def test_a_stream_of_unknown_length_has_a_bar_without_a_share():
    with terminal() as stream, progress_bar() as tell:
        tell("samples", 10, float("inf"))
    assert "samples" in stream.getvalue()


def test_a_log_gets_a_line_now_and_then(monkeypatch, capsys):
    seconds = iter([0.0, 1.0, 11.0, 11.0, 12.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(seconds))
    with progress_bar() as tell:
        tell("about 2 minutes", 0, 0)
        for done in (1, 2, 3):
            tell("comparing forms", done, 4)
    assert capsys.readouterr() == ("", "about 2 minutes\ncomparing forms: 50%\n")


def test_who_is_quiet_is_told_nothing():
    with progress_bar(quiet=True) as tell:
        assert tell is None


def test_an_interrupt_leaves_the_terminal_as_it_was():
    with terminal() as stream, pytest.raises(KeyboardInterrupt), progress_bar() as tell:
        tell("settling", 1, 4)
        raise KeyboardInterrupt
    assert stream.getvalue().rfind("\x1b[?25h") > stream.getvalue().rfind("\x1b[?25l")
