import platform
import subprocess
import sys

import pytest

from sarhub_models.engine import memory

SCRIPT = """
import resource
import numpy as np
from sarhub_models.engine.memory import keep_freed_memory

def pages_cleared() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(8 << 20)  # 64 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

kept = keep_freed_memory()
print(kept, *(pages_cleared() for _ in range(20)))
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_memory_is_used_again_without_asking_the_system_for_it() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    kept, first, *later = done.stdout.split()
    assert kept == "True"
    assert sum(map(int, later[-10:])) < int(first)  # it takes some rounds until a freed piece fits


def test_a_c_library_without_mallopt_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    assert not memory.keep_freed_memory()
