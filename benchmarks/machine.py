"""Where a measurement was taken: processor, threads, versions, commit, date; and how a result is recorded."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

RESULTS = Path(__file__).parent / "RESULTS.md"
HEADER = (
    "# Results\n\nMeasured by the scripts beside this file; each section names its machine, versions, seed and commit."
)
PACKAGES = ("torch", "transformers", "accelerate", "datasets")


def machine_facts(*, seed: int) -> dict[str, str]:
    """Return the facts that a measured number needs beside it."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "cpu": cpu_model(),
        "cores": f"{len(os.sched_getaffinity(0))} of {os.cpu_count()}",
        "threads": str(torch.get_num_threads()),
        "gpu": device,
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in PACKAGES},
        "seed": str(seed),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "commit": git_commit(),
    }


def cpu_model() -> str:
    """Return the processor's name as the system tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def git_commit() -> str:
    """Return the commit of this checkout, and whether tracked files differ from it."""
    commit = _git("rev-parse", "--short=12", "HEAD")
    return (
        f"{commit} with uncommitted changes" if commit and _git("status", "--porcelain", "-uno") else commit or "none"
    )


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def facts_line(facts: Mapping[str, str]) -> str:
    """Return the facts as one line of Markdown."""
    return "; ".join(f"{name} {value}" for name, value in facts.items()) + "."


def section(title: str, facts: Mapping[str, str], parts: Sequence[str]) -> str:
    """Return a section of the results: a heading, the machine, and the parts below it."""
    return "\n\n".join([f"## {title}", facts_line(facts), *parts]) + "\n"


def record(text: str, path: Path = RESULTS) -> None:
    """Append a section to the results."""
    before = path.read_text(encoding="utf-8").rstrip() if path.exists() else HEADER
    path.write_text(f"{before}\n\n{text}", encoding="utf-8")
