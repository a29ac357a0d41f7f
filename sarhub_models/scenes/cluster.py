"""Maps of clusters: places of a scene that look alike, without any label."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import MissingDependencyError, OptionError
from .classify import Mapped, write_map
from .groups import Group
from .mosaic import cells
from .session import Reading, Running, Session, Windows, open_session
from .sinks.cog import check_cog

__all__ = ["cluster_scene"]

_SAMPLED = 20_000  # windows that the clusters are found among
_MOST = 64


def cluster_scene(
    scene: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str],
    out: str | os.PathLike[str],
    clusters: int = 8,
    seed: int = 0,
    windows: Windows = Windows(),
    reading: Reading = Reading(),
    running: Running = Running(),
) -> Mapped:
    """Find clusters of windows by k-means of their features, all of length 1, and write their map.

    Args:
        scene: the scene.
        weights: a name, a file of weights, or the folder of a run.
        out: the map, ``.tif``: a value a cell, with a palette, cluster 0 the largest; 255 without data.
        clusters: their number, 2 to 64.
        seed: of the random numbers that k-means begins with.
        windows: how the scene is cut; by default windows of the network's size that overlap by half.
        reading: how it is read.
        running: how the job is run.

    Raises:
        ImageError: the scene cannot be read or contradicts its radiometry; what was done is kept.
        OptionError: there are fewer windows than clusters, or an option is impossible.
        MissingDependencyError: scikit-learn is missing.
        OSError: the disk refuses; what was done is kept.
    """
    target = check_cog(out)
    if not 2 <= clusters <= _MOST:
        raise OptionError(f"expected 2 to {_MOST} clusters, got {clusters}")
    session = open_session(
        scene,
        weights=weights,
        kind="features",
        out=target,
        windows=windows,
        reading=reading,
        running=running,
        overlap=0.5,
        single=True,
    )
    session.run()
    count = session.seen()
    if count < clusters:
        raise OptionError(f"{session.job.scenes[0].path}: {count} windows have data, too few for {clusters} clusters")
    means = _means(session, count, clusters, seed)
    names = tuple(f"cluster {index}" for index in range(clusters))
    found = cells(session.plan(), _assigned(session, means), 1)
    rows = (np.where(np.isfinite(row[0]), row[0], -1).astype(int) for row in found)
    return write_map(session, target, rows, names, tags=session.tags(weights))


def _vectors(group: Group) -> np.ndarray:
    values = group.values[:, :, 0, 0].astype(np.float32)
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12))


def _means(session: Session, count: int, clusters: int, seed: int) -> np.ndarray:
    """Return the means of clusters, the largest first."""
    try:
        from sklearn.cluster import KMeans
    except ImportError as err:
        raise MissingDependencyError("clusters need scikit-learn: pip install 'sarhub-models[scenes]'") from err
    step = max(count // _SAMPLED, 1)
    sample = np.concatenate([_vectors(group)[::step].copy() for group in session.found() if len(group.indices)])
    found: Any = KMeans(clusters, n_init=4, random_state=seed).fit(sample)
    order = np.argsort(-np.bincount(found.labels_, minlength=clusters), kind="stable")
    return np.asarray(found.cluster_centers_[order])


def _assigned(session: Session, means: np.ndarray) -> Iterator[Group]:
    """Yield the groups with the number of the nearest mean in place of the features."""
    for group in session.found():
        values = np.zeros((0, 1, 1, 1), np.float32)
        if len(group.indices):
            vectors = _vectors(group)
            distances = (means**2).sum(axis=1) - 2 * vectors @ means.T
            values = distances.argmin(axis=1).astype(np.float32)[:, None, None, None]
        yield Group(group.indices, values, group.valid)
