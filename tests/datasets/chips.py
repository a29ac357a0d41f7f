"""Phoenix files as the archives of MSTAR hold them, with made-up pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def phoenix(
    magnitude: np.ndarray,
    phase: np.ndarray | None = None,
    target: str | None = "2s1_gun",
    serial: str = "b01",
    depression: int | str = 17,
    azimuth: float = 30.0,
    native: bytes = b"",
) -> bytes:
    """The bytes of a Phoenix file: header, native header, magnitude and phase, big-endian float32."""
    if phase is None:
        phase = np.zeros_like(magnitude)
    named = [f"TargetType= {target}", f"TargetSerNum= {serial}"] if target else []
    lines = [
        "PhoenixHeaderLength= {length:05d}",
        f"PhoenixSigSize= {magnitude.size * 8 + 1500}",
        "PhoenixSigNum= 0001",
        "PhoenixHeaderCallingSequence= mstar2phoenix -s 128",
        f"native_header_length= {len(native)}",
        "Filename= hb19868.000",
        f"NumberOfColumns= {magnitude.shape[1]}",
        f"NumberOfRows= {magnitude.shape[0]}",
        *named,
        f"TargetAz= {azimuth:.6f}",
        f"DesiredDepression= {depression}",
        "MeasuredDepression= 17.034925",
        "Bandwidth= 0.591000 GHz",
        "",
    ]
    template = "\n[PhoenixHeaderVer01.04]\n" + "\n".join(lines) + "[EndofPhoenixHeader]\n"
    header = template.format(length=len(template.format(length=0))).encode()
    return header + native + magnitude.astype(">f4").tobytes() + phase.astype(">f4").tobytes()


def write_chip(file: Path, seed: int = 0, shape: tuple[int, int] = (8, 6), **fields: object) -> np.ndarray:
    """Write a chip; return its magnitude, float32."""
    magnitude = np.random.default_rng(seed).rayleigh(0.05, shape).astype(np.float32)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(phoenix(magnitude, azimuth=float(seed), **fields))  # type: ignore[arg-type]
    return magnitude
