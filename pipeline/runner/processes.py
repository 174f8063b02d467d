"""Which of the processes that ``accelerate launch`` started this is, known without importing torch."""

from __future__ import annotations

import os

from pipeline.errors import CompressionError


def count() -> int:
    """Return the number of processes of this run."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Say whether this process is the one that writes."""
    return count() == 1 or int(os.environ.get("RANK", "0")) == 0


def join() -> None:
    """Let the processes find each other, before anything else asks accelerate for its state and so settles it.

    Raises ``CompressionError`` where accelerate does not see the others: each would take itself for the writer.
    """
    if count() == 1:
        return
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    found = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU")).num_processes
    if found != count():
        raise CompressionError(
            f"WORLD_SIZE: is {count()}, but accelerate finds {found} process; start with `accelerate launch`, or where "
            "there is no GPU with `ACCELERATE_USE_CPU=true torchrun`, or unset WORLD_SIZE"
        )


def wait() -> None:
    """Wait until every process is here."""
    if count() > 1:
        from accelerate import PartialState

        PartialState().wait_for_everyone()
