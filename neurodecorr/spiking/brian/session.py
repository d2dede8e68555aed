"""The one door to Brian2: found or missed with advice, and its global state put back as it was."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import shlex
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from typing import Any

from neurodecorr._checks import choice
from neurodecorr.errors import ConfigError

__all__ = ["TARGETS", "brian2_module", "quiet", "session"]

TARGETS = ("numpy", "cython", "cpp_standalone")
# Brian2 builds and runs its C++ program itself, without a limit on their time: these seconds are the limit.
BUILD_S, RUN_S = 1200, 86_400
LIMIT = """\
import os, signal, subprocess, sys
program = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL, start_new_session=True)
try:
    sys.exit(program.wait(float(sys.argv[1])))
except BaseException:
    if program.poll() is None:
        os.killpg(program.pid, signal.SIGKILL)
    raise
"""
# Brian2 has one device, one set of preferences and one list of objects for the process.
_ALONE = threading.RLock()
INSTALL = 'pip install "neurodecorr[brian2]"'


def brian2_module() -> Any:
    """Return the module brian2.

    Importing it reroutes Python's warnings and uncaught exceptions into its log; both are put back.

    Raises
    ------
    ConfigError
        If Brian2 is not installed, or does not work with this numpy.
    """
    loaded = "brian2" in sys.modules
    hook, routed = sys.excepthook, logging._warnings_showwarning is not None  # type: ignore[attr-defined]
    try:
        with quiet():
            brian2 = importlib.import_module("brian2")
    except ModuleNotFoundError as error:
        if error.name != "brian2":
            raise _broken(error) from error
        raise ConfigError(f"This engine needs Brian2, which is not installed. Install it: {INSTALL}") from None
    except Exception as error:
        raise _broken(error) from error
    if not loaded:
        sys.excepthook = hook
        logging.captureWarnings(routed)
    return brian2


def _broken(error: Exception) -> ConfigError:
    return ConfigError(
        f"Brian2 is installed but cannot be imported: {type(error).__name__}: {error}. Brian2 2.9 needs numpy < 2.4. "
        f"Install a version that fits: {INSTALL}"
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Ignore what Brian2 and its parser say about themselves: deprecations that users can do nothing about."""
    with warnings.catch_warnings():
        for category in (DeprecationWarning, PendingDeprecationWarning, SyntaxWarning):
            warnings.filterwarnings("ignore", category=category)
        yield


@contextlib.contextmanager
def session(target: str) -> Iterator[Any]:
    """Yield the module brian2, set to one target of code generation; put preferences and device back afterwards.

    Parameters
    ----------
    target : {"numpy", "cython", "cpp_standalone"}
        Interpreted arrays; compiled at run time; or one C++ program, built and run in a temporary folder.
    """
    brian2 = brian2_module()
    device = brian2.get_device()
    if not isinstance(device, brian2.devices.RuntimeDevice):
        raise ConfigError(
            f"Brian2's device must be 'runtime' when this engine starts; it is {type(device).__name__}, and a run "
            "would mix its objects with yours. Call brian2.set_device('runtime') first."
        )
    with contextlib.ExitStack() as stack:
        stack.enter_context(_ALONE)
        stack.enter_context(quiet())
        stack.callback(_restore, brian2.prefs, dict(brian2.prefs))
        if choice(target, "target", TARGETS) == "cpp_standalone":
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="neurodecorr-", ignore_cleanup_errors=True))
            brian2.set_device("cpp_standalone", directory=folder, build_on_run=True)
            stack.callback(_leave_standalone, brian2)
            _limit_time(brian2.prefs)
        else:
            brian2.prefs["codegen.target"] = target
        yield brian2


def _limit_time(preferences: Any) -> None:
    """Let the compiler and the program that it makes run for so long only, and end all that they started."""
    if os.name == "posix":
        limited = [sys.executable, "-c", LIMIT]
        build = shlex.join([*limited, str(BUILD_S), str(preferences["devices.cpp_standalone.make_cmd_unix"])])
        preferences["devices.cpp_standalone.make_cmd_unix"] = build
        preferences["devices.cpp_standalone.run_cmd_unix"] = [*limited, str(RUN_S), "./main"]


def _restore(preferences: Any, before: dict[str, Any]) -> None:
    for name, value in before.items():
        if preferences[name] != value:
            preferences[name] = value


def _leave_standalone(brian2: Any) -> None:
    brian2.get_device().reinit()
    brian2.devices.reset_device()
