"""Random numbers that depend on what they are for, not on what was drawn before.

Every draw of a run is keyed by the seed and its purpose (order of an epoch, augmentation of a step, …). So a resumed
run draws what the uninterrupted one would have drawn, and the draws of a global batch do not depend on how many
processes share it.
"""

from __future__ import annotations

import hashlib

import torch


def key(seed: int, *purpose: str | int) -> int:
    """Return a seed for one purpose, in [0, 2**63)."""
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """Return a CPU generator for one purpose."""
    return torch.Generator().manual_seed(key(seed, *purpose))
