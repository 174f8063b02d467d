import os
import platform
import subprocess
import sys

import pytest

PAGES = 64 * 2**20 // os.sysconf("SC_PAGE_SIZE")
"""Of the tensor that is made again and again."""
FAULTS = """
import resource
import torch
from pipeline.training.memory import keep_freed_memory

print(keep_freed_memory())
for _ in range(5):
    torch.ones(16 * 2**20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    torch.ones(16 * 2**20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(**environment):
    command = [sys.executable, "-c", FAULTS]
    found = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=True, timeout=120
    )
    kept, count = found.stdout.split()
    return kept, int(count)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is told to keep memory")
def test_a_tensor_made_again_asks_the_system_for_no_pages_unless_the_user_has_chosen():
    kept, count = faults()
    assert kept == "True"
    assert count < 8 * PAGES / 2
    kept, count = faults(MALLOC_TRIM_THRESHOLD_="131072")
    assert kept == "False"
    assert count >= 8 * PAGES
