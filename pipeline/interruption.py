"""SIGINT and SIGTERM as a request to stop: the loop saves the half-done stage first; a second signal stops at once.

Where nothing is half done, as while a command reads and plans, the first one stops at once.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
Handler = Callable[[int, FrameType | None], None]

_requested: int | None = None


class Interrupted(BaseException):
    """The run was asked to stop; ``signum`` is the signal, and 128 + ``signum`` the exit status it stands for."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(signum).name}")
        self.signum = signum


@contextmanager
def handling() -> Iterator[None]:
    """Take SIGINT and SIGTERM as requests while in the block; outside the main thread nothing is installed.

    In a block of ``stopping_at_once``, a signal whose exception was swallowed is a request from the start.
    """
    with _installed(_on_signal, unless=(_on_signal,)):
        yield


@contextmanager
def stopping_at_once() -> Iterator[None]:
    """Raise ``Interrupted`` on SIGINT and SIGTERM while in the block, but not in a block of ``handling``."""
    with _installed(_stop, unless=(_on_signal, _stop)):
        yield


@contextmanager
def _installed(handler: Handler, *, unless: tuple[Handler, ...]) -> Iterator[None]:
    global _requested
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {signum: signal.getsignal(signum) for signum in SIGNALS}
    if any(installed in previous.values() for installed in unless):
        yield
        return
    for signum in SIGNALS:
        signal.signal(signum, handler)
    try:
        yield
    finally:
        for signum, installed in previous.items():
            signal.signal(signum, signal.SIG_DFL if installed is None else installed)
        _requested = None


def requested() -> int | None:
    """Return the signal that asked to stop, or None."""
    return _requested


def check() -> None:
    """Raise ``Interrupted`` if a signal asked to stop."""
    if _requested is not None:
        raise Interrupted(_requested)


def _on_signal(signum: int, frame: FrameType | None) -> None:
    global _requested
    if _requested is not None:
        raise Interrupted(signum)
    _requested = signum


def _stop(signum: int, frame: FrameType | None) -> None:
    global _requested
    _requested = signum
    raise Interrupted(signum)
