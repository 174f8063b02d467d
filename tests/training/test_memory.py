import os
import platform
import subprocess
import sys

import pytest
import torch

from pipeline.training import memory
from pipeline.training.memory import keep_kernels, memory_bytes

PAGES = 64 * 2**20 // os.sysconf("SC_PAGE_SIZE")
"""Of the tensor that is made again and again."""
FAULTS = """
import resource
import torch
from pipeline.training.memory import keep_freed_memory

print(keep_freed_memory())
for _ in range(12):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16 * 2**20)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(**environment):
    """Return what a fresh process says of its memory, and the fewest pages it asked for to make the tensor again."""
    command = [sys.executable, "-c", FAULTS]
    found = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=True, timeout=120
    )
    kept, *counts = found.stdout.split()
    return kept, min(int(count) for count in counts[1:])


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is told to keep memory")
def test_a_tensor_made_again_asks_the_system_for_no_pages_unless_the_user_has_chosen():
    kept, fewest = faults()
    assert kept == "True"
    assert fewest < PAGES / 10
    kept, fewest = faults(MALLOC_TRIM_THRESHOLD_="131072")
    assert kept == "False"
    assert fewest >= PAGES


SHAPES = """
import sys
import torch
from pipeline.training import memory

memory.FEWEST_KERNELS = memory.MOST_KERNELS = int(sys.argv[1])
memory.keep_kernels()
for _ in range(2):
    print("pass", flush=True)
    for rows in (8, 9, 10, 11):
        torch.nn.functional.linear(torch.ones(rows, 64).bfloat16(), torch.ones(64, 64).bfloat16())
"""


@pytest.mark.skipif(
    not (torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()),
    reason="where oneDNN does not multiply in bf16 there are no kernels to keep",
)
@pytest.mark.parametrize(("capacity", "compiles_again"), [(1, True), (100, False)])
def test_a_kernel_that_is_kept_is_not_compiled_again(capacity, compiles_again):
    environment = {name: value for name, value in os.environ.items() if name != memory.KERNELS}
    command = [sys.executable, "-c", SHAPES, str(capacity)]
    found = subprocess.run(
        command, env={**environment, "ONEDNN_VERBOSE": "2"}, capture_output=True, text=True, check=True, timeout=120
    )
    first, second = found.stdout.split("pass\n")[1:]
    assert "cache_miss" in first
    assert ("cache_miss" in second) == compiles_again


def test_as_many_kernels_are_kept_as_the_memory_has_room_for_unless_the_user_has_chosen(monkeypatch):
    monkeypatch.delenv(memory.KERNELS, raising=False)
    monkeypatch.setattr(memory, "memory_bytes", lambda: 24 * 10**9)
    assert keep_kernels() == 3750
    monkeypatch.setattr(memory, "memory_bytes", lambda: 10**9)
    assert keep_kernels() == 3750
    monkeypatch.delenv(memory.KERNELS)
    assert keep_kernels() == memory.FEWEST_KERNELS
    monkeypatch.setenv(memory.KERNELS, "7")
    assert keep_kernels() == 7


def test_memory_is_that_of_the_control_group_where_it_is_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "CGROUP_LIMIT", tmp_path / "memory.max")
    whole = memory_bytes()
    (tmp_path / "memory.max").write_text("max\n")
    assert memory_bytes() == whole > 10**8
    (tmp_path / "memory.max").write_text("50000000\n")
    assert memory_bytes() == 50_000_000
