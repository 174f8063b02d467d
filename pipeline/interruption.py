"""SIGINT and SIGTERM as a request to stop: the loop saves the half-done stage first; a second signal stops at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_requested: int | None = None


class Interrupted(BaseException):
    """The run was asked to stop; ``signum`` is the signal, and 128 + ``signum`` the exit status it stands for."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(signum).name}")
        self.signum = signum


@contextmanager
def handling() -> Iterator[None]:
    """Take SIGINT and SIGTERM as requests while in the block; outside the main thread nothing is installed."""
    global _requested
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {signum: signal.getsignal(signum) for signum in SIGNALS}
    if _on_signal in previous.values():
        yield
        return
    _requested = None
    for signum in SIGNALS:
        signal.signal(signum, _on_signal)
    try:
        yield
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)
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
