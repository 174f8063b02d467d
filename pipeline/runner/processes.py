"""Which of the processes that ``accelerate launch`` started this is, known without importing torch."""

from __future__ import annotations

import os


def count() -> int:
    """Return the number of processes of this run."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Say whether this process is the one that writes."""
    return count() == 1 or int(os.environ.get("RANK", "0")) == 0


def wait() -> None:
    """Wait until every process is here."""
    if count() > 1:
        from accelerate import PartialState

        PartialState().wait_for_everyone()
