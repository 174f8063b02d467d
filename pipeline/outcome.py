"""What stopped a command, as one line for people and an exit status for scripts."""

from __future__ import annotations

import os
import shlex
import signal
import traceback
from collections.abc import Sequence
from typing import Any

from pipeline.errors import CompressionError, RecipeError
from pipeline.interruption import Interrupted

BAD_RECIPE, FAILED = 2, 1
RESUMED = ("run", "sweep")
"""The commands that go on where they were when they are repeated."""


def explain(error: BaseException, arguments: Sequence[str], *, shows_traceback: bool) -> tuple[int, str]:
    """Return the exit status and the message, empty where there is nothing to say; the traceback goes before it."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else FAILED, ""
    if isinstance(error, BrokenPipeError):
        return FAILED, ""
    if is_stop(error):
        signum = error.signum if isinstance(error, Interrupted) else int(signal.SIGINT)
        return 128 + signum, _stop_message(signum, arguments) if is_main_process() else ""
    if shows_traceback:
        traceback.print_exception(error)
    status, message = _failure(error, shows_traceback)
    return status, message if is_main_process() else f"process {os.environ.get('RANK')}: {message}"


def is_main_process() -> bool:
    """Say whether this process talks; the machine is imported only where there are others."""
    if "WORLD_SIZE" not in os.environ:
        return True
    from pipeline.runner import processes

    return processes.is_main()


def is_stop(error: BaseException) -> bool:
    """Say whether somebody stopped the command; typer raises an ``Abort`` of its own on SIGINT."""
    return isinstance(error, (Interrupted, KeyboardInterrupt)) or type(error).__name__ == "Abort"


def _stop_message(signum: int, arguments: Sequence[str]) -> str:
    """Return what stopped the command and, where it goes on, how: the same call, ``--from`` included."""
    stopped = f"stopped by {signal.Signals(signum).name}"
    if not arguments or arguments[0] not in RESUMED:
        return stopped
    if "WORLD_SIZE" in os.environ:
        return f"{stopped}; resume with the same command"
    return f"{stopped}; resume with: {shlex.join(['pruneline', *arguments])}"


def _failure(error: BaseException, shows_traceback: bool) -> tuple[int, str]:
    if hasattr(error, "format_message"):
        return BAD_RECIPE, _usage_message(error)
    if isinstance(error, CompressionError):
        return BAD_RECIPE if isinstance(error, RecipeError) else FAILED, str(error)
    hint = "" if shows_traceback else "; --debug shows the traceback"
    return FAILED, f"unexpected {type(error).__name__}: {' '.join(str(error).split())}{hint}"


def _usage_message(error: Any) -> str:
    """Return a wrong call in one line; without a command the help itself is the message."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return str(error.format_message())
    message = " ".join(error.format_message().split())
    return f"{message} See: {error.ctx.command_path if getattr(error, 'ctx', None) else 'pruneline'} --help"
