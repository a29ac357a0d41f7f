"""The Slurm script, with stand-ins for Slurm's commands."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "training" / "pretrain.slurm"


@pytest.fixture
def cluster(tmp_path: Path) -> dict[str, str]:
    """An environment as on the first node of a job, where srun writes its arguments to a file and then fails."""
    for name, body in {
        "srun": 'env > environment.txt; printf "%s\\n" "$@" > srun.txt; '
        '[ -z "${INTERRUPT:-}" ] || touch "$INTERRUPT"; exit "${STATUS:-0}"',
        "scontrol": 'if [ "$1" = show ]; then printf "node1\\nnode2\\n"; else echo "$@" > scontrol.txt; fi',
    }.items():
        file = tmp_path / "bin" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/sh\n{body}\n")
        file.chmod(0o755)
    (tmp_path / "run").mkdir()
    return {
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "SLURM_JOB_ID": "17",
        "SLURM_CPUS_PER_TASK": "8",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_JOB_NODELIST": "node[1-2]",
        "OUT": "run",
    }


def submit(folder: Path, environment: dict[str, str]) -> int:
    command = ["bash", str(SCRIPT), "resnet50_ben", "data.shards=/scratch/my shards"]
    return subprocess.run(command, cwd=folder, env=environment).returncode


def test_it_starts_torchrun_on_all_nodes(cluster: dict[str, str], tmp_path: Path) -> None:
    assert submit(tmp_path, cluster) == 0
    arguments = (tmp_path / "srun.txt").read_text().splitlines()
    assert arguments[arguments.index("--nnodes") + 1] == "2"
    assert arguments[arguments.index("--rdzv-endpoint") + 1] == "node1:29500"
    assert arguments[-4:] == ["resnet50_ben", "data.shards=/scratch/my shards", "--out", "run"]
    assert not (tmp_path / "scontrol.txt").exists()


def test_the_processes_get_their_cpus_and_time_to_save(cluster: dict[str, str], tmp_path: Path) -> None:
    assert submit(tmp_path, cluster) == 0
    environment = dict(line.partition("=")[::2] for line in (tmp_path / "environment.txt").read_text().splitlines())
    assert environment["SRUN_CPUS_PER_TASK"] == "8"
    notice = next(line for line in SCRIPT.read_text().splitlines() if line.startswith("#SBATCH --signal"))
    assert 30 < int(environment["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"]) < int(notice.rpartition("@")[2])


def test_an_interrupted_run_is_put_back(cluster: dict[str, str], tmp_path: Path) -> None:
    assert submit(tmp_path, {**cluster, "STATUS": "1", "INTERRUPT": "run/interrupted"}) == 0
    assert (tmp_path / "scontrol.txt").read_text() == "requeue 17\n"


def test_a_failed_run_is_not(cluster: dict[str, str], tmp_path: Path) -> None:
    assert submit(tmp_path, {**cluster, "STATUS": "3"}) == 3
    assert not (tmp_path / "scontrol.txt").exists()
