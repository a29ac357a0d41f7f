"""Scores of the whole path, network to number, against scikit-learn."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from sklearn import metrics as sklearn
from torch import Tensor, nn

from sarhub_models.engine.batches import Batch
from sarhub_models.engine.metrics import DEFAULT_MONITOR, check_monitor, make_metrics
from sarhub_models.engine.scoring import score
from sarhub_models.errors import UnknownNameError

CLASSES = 5


def samples(multilabel: bool, count: int = 83) -> tuple[Tensor, Tensor]:
    """Logits (N, C) that know something of the labels (N,) or (N, C); class 4 is rare, and one sample has no label."""
    rng = np.random.default_rng(7)
    if multilabel:
        labels = (rng.random((count, CLASSES)) < [0.6, 0.4, 0.3, 0.2, 0.05]).astype(np.float32)
        labels[0] = 0
        labels[1, 4] = 1
        logits = rng.normal(size=labels.shape) + 1.5 * labels - 0.7
    else:
        labels = rng.choice(CLASSES, size=count, p=[0.4, 0.3, 0.2, 0.08, 0.02])
        labels[:2] = 4
        logits = rng.normal(size=(count, CLASSES)) + 1.5 * np.eye(CLASSES)[labels]
    return torch.from_numpy(logits).float(), torch.from_numpy(labels)


def batches(logits: Tensor, labels: Tensor, size: int) -> Iterator[Batch]:
    """The logits as images of one row, which nn.Flatten turns into themselves."""
    for x, y in zip(logits.split(size), labels.split(size), strict=True):
        yield Batch(x[:, None, None, :], y, [""] * len(y), [])


def scored(logits: Tensor, labels: Tensor, size: int) -> tuple[dict[str, float], Tensor]:
    loader = batches(logits, labels, size)
    return score(nn.Flatten(), loader, nn.Identity(), CLASSES, multilabel=labels.ndim == 2)


def expected(logits: Tensor, labels: Tensor) -> dict[str, float]:
    actual = labels.numpy()
    if labels.ndim == 1:
        predicted = logits.argmax(dim=1).numpy()
        return {
            "overall_accuracy": sklearn.accuracy_score(actual, predicted),
            "class_average": sklearn.balanced_accuracy_score(actual, predicted),
            "macro_f1": sklearn.f1_score(actual, predicted, average="macro"),
        }
    predicted = (logits > 0).numpy()
    return {
        **{
            f"f1_{mean}": sklearn.f1_score(actual, predicted, average=mean, zero_division=0)
            for mean in ("micro", "macro", "samples")
        },
        "precision": sklearn.precision_score(actual, predicted, average="micro"),
        "recall": sklearn.recall_score(actual, predicted, average="micro"),
        "mean_average_precision": sklearn.average_precision_score(actual, logits.sigmoid().numpy(), average="macro"),
    }


@pytest.mark.parametrize("size", [83, 16, 1])
@pytest.mark.parametrize("multilabel", [False, True])
def test_scores_agree_with_scikit_learn_whatever_the_batches(multilabel: bool, size: int) -> None:
    logits, labels = samples(multilabel)
    scores, detail = scored(logits, labels, size)
    assert scores == pytest.approx(expected(logits, labels), abs=1e-6)
    if multilabel:
        per_class = sklearn.f1_score(labels.numpy(), (logits > 0).numpy(), average=None)
        np.testing.assert_allclose(detail.numpy(), per_class, atol=1e-6)
    else:
        np.testing.assert_array_equal(detail, sklearn.confusion_matrix(labels.numpy(), logits.argmax(dim=1).numpy()))


def test_classes_that_do_not_occur_do_not_count() -> None:
    labels = torch.tensor([0, 1, 1])
    logits = 9.0 * torch.eye(CLASSES)[[0, 1, 2]]  # class 2 is predicted once, 3 and 4 never
    scores, _ = scored(logits, labels, 2)
    assert scores["class_average"] == pytest.approx(0.75)  # (1 + 1/2) / 2
    several = torch.tensor([[1.0, 0, 0, 0, 0], [0, 1, 0, 0, 0], [1, 1, 0, 0, 0]])
    scores, _ = scored(4 * several - 2, several, 2)
    assert scores["mean_average_precision"] == scores["f1_macro"] == 1
    scores, _ = scored(4 * several - 2, torch.zeros_like(several), 2)
    assert scores["mean_average_precision"] == scores["f1_macro"] == 0


def test_probabilities_that_all_lie_in_one_half_are_no_logits() -> None:
    # torchmetrics takes values outside [0, 1] for logits; what it is given must not depend on the batch
    logits = torch.full((4, CLASSES), -0.2)
    scores, _ = scored(logits, torch.ones(4, CLASSES), 2)
    assert scores["recall"] == 0
    scores, _ = scored(-logits, torch.ones(4, CLASSES), 2)
    assert scores["recall"] == 1


def test_a_batch_of_damaged_samples_only_changes_nothing() -> None:
    logits, labels = samples(False)
    loader = [*batches(logits, labels, 16), Batch([], torch.empty(0, dtype=torch.int64), [], ["broken"])]
    scores, _ = score(nn.Flatten(), loader, nn.Identity(), CLASSES, multilabel=False)
    assert scores == scored(logits, labels, 16)[0]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def share(rank: int, port: int, folder: Path) -> None:
    """One of two processes: rank 0 has the first samples, rank 1 the others."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    found = []
    for multilabel in (False, True):
        logits, labels = (tensor[:20] if rank == 0 else tensor[20:] for tensor in samples(multilabel))
        scores, detail = scored(logits, labels, 8)  # 3 batches here, 8 there
        found.append([scores, detail.tolist()])
    (folder / f"{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_with_unequal_shares_see_the_scores_of_the_whole(tmp_path: Path) -> None:
    mp.start_processes(share, args=(free_port(), tmp_path), nprocs=2, start_method="forkserver")
    for rank in range(2):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        for multilabel, (scores, detail) in zip((False, True), found, strict=True):
            whole, whole_detail = scored(*samples(multilabel), 8)
            assert scores == pytest.approx(whole, abs=1e-6)
            np.testing.assert_allclose(detail, whole_detail, atol=1e-6)


def test_the_score_that_chooses_the_best_epoch() -> None:
    for multilabel, name in DEFAULT_MONITOR.items():
        known = list(make_metrics(CLASSES, multilabel))
        assert check_monitor(None, name, known) == name
        assert [check_monitor(other, name, known) for other in known] == known
        with pytest.raises(UnknownNameError, match=r"evaluation\.monitor=macro_f: .*did you mean"):
            check_monitor("macro_f", name, known)
