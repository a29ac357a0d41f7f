"""The same job on a Ray cluster of several nodes: equal to the bit, also when a node is killed."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import torch

from sarhub_models.errors import ImageError
from sarhub_models.scenes.embed import embed_scenes
from sarhub_models.scenes.models import ModelSpec, WindowModel
from sarhub_models.scenes.plan import make_plan
from sarhub_models.scenes.runner import Job, SceneSpec, run_local
from sarhub_models.scenes.session import Reading, Running, Windows

from .ranges import Store
from .test_products import write_tif

pytest.importorskip("ray.data")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")]
SPEC = ModelSpec("mobilenetv3_dsn", "features", full_scale=65535)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without processors and two nodes with one each, on this machine."""
    import ray
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 80 << 20}
    node = {"num_cpus": 1, "object_store_memory": 80 << 20}
    with pytest.MonkeyPatch.context() as environment:
        # Its threads print tracebacks, which parse code, while other tests do: Python 3.11 cannot do both at once
        environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        running = Cluster(initialize_head=True, head_node_args=head)
        running.doomed = [running.add_node(**node), running.add_node(**node)][1]
        ray.init(address=running.address, log_to_driver=False)
        yield running
        ray.shutdown()
        running.shutdown()


def job(scene: Path, folder: Path, **options: Any) -> Job:
    folder.mkdir(parents=True, exist_ok=True)
    plan = make_plan((6 * 64, 8 * 64), size=64)
    return Job((SceneSpec(scene, options),), (plan,), SPEC, folder, batch_size=1, threads=1)


def test_ray_gives_the_same_bits_as_one_process_though_a_node_is_killed(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    from sarhub_models.scenes.ray_engine import run_ray

    array = np.random.default_rng(0).integers(1, 60000, (6 * 64, 8 * 64), dtype=np.uint16)
    scene = write_tif(tmp_path / "scene.tif", array)
    here, there = job(scene, tmp_path / "local"), job(scene, tmp_path / "ray")
    threads = torch.get_num_threads()
    torch.set_num_threads(here.threads)
    run_local(here, WindowModel(SPEC), progress=False)
    torch.set_num_threads(threads)

    def kill() -> None:
        """Kill a node when the first group is there, or when all are: the result must be the same."""
        while not list(there.folder.glob("*.safetensors")):
            time.sleep(0.05)
        cluster.remove_node(cluster.doomed, allow_graceful=False)

    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED")
    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    run_ray(there, progress=False)
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0", "nothing is reported unless the user asks for it"
    killer.join(60)
    until = time.monotonic() + 300
    while sum(node["Alive"] for node in ray.nodes()) > 2:  # the next test is not to be given to the dead one
        assert time.monotonic() < until
        time.sleep(0.2)
    names = sorted(file.name for file in here.folder.glob("*.safetensors"))
    assert len(names) == 12
    assert [file.name for file in sorted(there.folder.glob("*.safetensors"))] == names
    for name in names:
        assert (here.folder / name).read_bytes() == (there.folder / name).read_bytes()


def test_an_error_of_a_worker_is_that_of_one_process(cluster: Any, tmp_path: Path) -> None:
    from sarhub_models.scenes.ray_engine import run_ray

    scene = write_tif(tmp_path / "scene.tif", np.full((6 * 64, 8 * 64), -1, np.float32).cumsum(axis=1))
    with pytest.raises(ImageError, match=r"scene\.tif, window at row \d+, column \d+: .*negative"):
        run_ray(job(scene, tmp_path / "ray"), progress=False)


def test_ray_reads_a_collection_in_an_object_store_as_one_process_does(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "store").mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        write_tif(tmp_path / "store" / f"{name}.tif", rng.integers(1, 60000, (256, 256), dtype=np.uint16), driver="COG")
    with Store(tmp_path / "store") as store:
        assets = [{"vv": {"href": f"{store.url}/{name}.tif", "roles": ["data"]}} for name in ("a", "b")]
        items = [{"type": "Feature", "id": f"S1_{number}", "assets": asset} for number, asset in enumerate(assets)]
        (tmp_path / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": items}))
        tables = []
        for engine in ("local", "ray"):
            out = tmp_path / f"{engine}.parquet"
            embed_scenes(
                tmp_path / "items.json",
                weights="mobilenetv3_dsn",
                out=out,
                windows=Windows(batch_size=1),
                reading=Reading(full_scale=65535),
                running=Running(engine=engine, progress=False),
            )
            tables.append(geopandas.read_parquet(out))
    assert tables[0].scene.value_counts().to_dict() == {"S1_0": 4, "S1_1": 4}
    assert tables[0].equals(tables[1])
