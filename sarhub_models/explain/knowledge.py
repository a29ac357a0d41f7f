"""Knowledge points: the patches of a chip whose pixels a network's feature depends on more than on the background's."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import CheckpointError, OptionError
from ..io.files import replacing
from ..io.progress import progress_bar
from .estimators import Amortized, Direct, Problem, feature_variance, generator
from .inputs import check_chips
from .layers import Feature, device_of, frozen
from .objective import HALF_LOG_2PIE
from .unet import SigmaUNet

__all__ = ["THRESHOLDS", "Explanation", "KnowledgePoints", "knowledge_points"]

THRESHOLDS = (0.25, 0.3, 0.4, 0.5)
"""The b at which SAR-HUB reports knowledge points."""

_FORMAT = "sarhub-sigma-unet-1"
_PROBES = 4  # draws of noise for the distortion that is reported


@dataclass(frozen=True)
class Explanation:
    """The result for a set of chips.

    Attributes:
        sigma: standard deviation of the noise that each patch bears, float32 (N, R, C).
        distortion: ‖f(x') − f(x)‖² / Var(f(x)) of each chip at this σ, float32 (N,), mean of a few draws.
        layer: name of the layer that is f.
        patch: side of a patch in pixels.
        alpha: weight of the entropy in the loss.
        batch: the B of the loss.
    """

    sigma: np.ndarray
    distortion: np.ndarray
    layer: str
    patch: int
    alpha: float
    batch: int

    @property
    def entropy(self) -> np.ndarray:
        """H = log σ + ½ log(2πe) of each patch, float32 (N, R, C): small where the network looks."""
        return np.log(self.sigma) + np.float32(HALF_LOG_2PIE)

    @property
    def loss(self) -> float:
        """The loss, as it would be of batches of ``batch`` such chips."""
        per_chip = self.distortion / self.batch - self.alpha * self.entropy.sum(axis=(1, 2))
        return float(per_chip.mean() * self.batch)


def knowledge_points(entropy: np.ndarray, background: np.ndarray, threshold: float) -> np.ndarray:
    """Return which patches are knowledge points: mean(H over the background) − H_i > b.

    Args:
        entropy: H of each patch, (…, R, C).
        background: which patches are background, bool, of that shape.
        threshold: b, in nats.

    Returns:
        bool, of that shape. A chip without background has none, as there is nothing to compare with.
    """
    count = background.sum(axis=(-2, -1), keepdims=True)
    total = np.where(background, entropy, 0).sum(axis=(-2, -1), keepdims=True)
    reference = np.where(count > 0, total / np.maximum(count, 1), -np.inf)
    return reference - entropy > threshold


class KnowledgePoints:
    """Finds how much noise each patch of a chip bears before a layer of a network notices.

    The network is frozen and in evaluation mode while it is looked at, and afterwards as it was before.

    Args:
        model: any network that takes chips (B, C, H, W), on any device.
        layer: name of the layer that is f: a stage of timm's ``feature_info`` or any other of ``named_modules()``
            that puts out one tensor. By default the last stage.
        patch: side of a patch in pixels.
        mean: subtracted from chips before the network sees them; of ``create_transform(name)`` its ``mean``.
        std: divided by after the mean.
        estimator: :class:`~sarhub_models.explain.Direct` (the default) optimizes σ chip by chip;
            :class:`~sarhub_models.explain.Amortized` trains a U-Net with :meth:`fit`, or takes one with :meth:`load`.
        alpha: weight of the entropy in the loss.
        draws: S, draws of noise of which the mean disturbs a chip.
        exact: draw S times; by default one draw of standard deviation σ/√S, which has the same distribution.
        batch: the B of the loss and, of the U-Net, the chips in a mini-batch. The direct estimator divides by it, too,
            whatever the number of chips: so its map of a chip does not depend on how many others there are, but for
            Var(f(x)), which is that of all chips together.
        channel: the only one of the chips' channels that noise disturbs, for the knowledge points of one band of
            several; by default all of them.
        seed: of the noise, the U-Net's first weights and the order of chips; the same seed gives the same maps.
        progress: draw a bar on stderr where that is a terminal.

    Raises:
        UnknownNameError: the network has no such layer.
        OptionError: an argument is out of its range, or the network does not say what its stages are.

    >>> import sarhub_models as sarhub
    >>> from sarhub_models.explain import prepare
    >>> from sarhub_models.datasets.simulated import simulate_chips
    >>> model = sarhub.create_model("mobilenetv3_dsn", pretrained=True)
    >>> transform = sarhub.create_transform("mobilenetv3_dsn")
    >>> chips = prepare(transform, torch.from_numpy(simulate_chips(1)[0])[:2, None])
    >>> points = KnowledgePoints(model, mean=transform.mean, std=transform.std, estimator=Direct(steps=2))
    >>> points.explain(chips).entropy.shape
    (2, 16, 16)
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        layer: str | None = None,
        patch: int = 8,
        mean: float = 0.0,
        std: float = 1.0,
        estimator: Direct | Amortized = Direct(),
        alpha: float = 0.25,
        draws: int = 15,
        exact: bool = False,
        batch: int = 32,
        channel: int | None = None,
        seed: int = 0,
        progress: bool = True,
    ) -> None:
        self.model, self.estimator, self.progress = model, estimator, progress
        feature = Feature(model, layer=layer, mean=mean, std=std)
        self.problem = Problem(feature, patch, alpha, draws, exact, batch, seed, channel)
        self.unet: SigmaUNet | None = None

    def fit(self, chips: np.ndarray | Tensor, names: Sequence[str] | None = None) -> list[float]:
        """Train the U-Net on chips.

        Args:
            chips: as :meth:`explain` takes them; also of one set of chips that is then explained.
            names: as for :meth:`explain`.

        Returns:
            The loss of each step.

        Raises:
            ImageError: as :meth:`explain` says.
            OptionError: the estimator is the direct one, which needs no training.
        """
        if not isinstance(self.estimator, Amortized):
            raise OptionError("only the amortized estimator is trained: KnowledgePoints(..., estimator=Amortized())")
        tensor = check_chips(chips, names)
        unet = self.estimator.build(tensor.shape[1], self.problem.patch, self.problem.seed).to(device_of(self.model))
        total = self.estimator.steps(self.problem, len(tensor))
        with frozen(self.model), progress_bar("training steps", total, show=self.progress) as advance:
            losses = self.estimator.train(self.problem, unet, tensor, advance)
        self.unet = unet
        return losses

    def explain(self, chips: np.ndarray | Tensor, names: Sequence[str] | None = None) -> Explanation:
        """Find σ of every patch.

        Args:
            chips: what the network sees before mean and standard deviation
                (:func:`~sarhub_models.explain.prepare`), float (N, C, H, W) with the network's number of channels.
            names: of the chips, for messages.

        Raises:
            ImageError: another shape, or a chip that holds NaN or infinity or is constant; it is named.
            OptionError: the U-Net was neither trained nor loaded, or the layer cannot be used.
        """
        tensor, device = check_chips(chips, names), device_of(self.model)
        with frozen(self.model):
            variance = feature_variance(self.problem.feature, tensor, self.estimator.chunk, device)
            if isinstance(self.estimator, Direct):
                work = self.estimator.work(tensor)
                with progress_bar("chips × steps", work, show=self.progress) as advance:
                    sigma = self.estimator.sigma(self.problem, tensor, variance, advance)
            else:
                sigma = self.estimator.sigma(self._trained(tensor.shape[1]), tensor)
            distortion = self._probe(tensor, sigma, variance)
        p = self.problem
        return Explanation(sigma.cpu().numpy(), distortion.cpu().numpy(), p.feature.layer, p.patch, p.alpha, p.batch)

    @torch.no_grad()
    def _probe(self, chips: Tensor, sigma: Tensor, variance: Tensor) -> Tensor:
        """Return the mean distortion of each chip under fresh noise."""
        problem, noise = self.problem, generator(variance.device, self.problem.seed, len(chips), 1)
        parts = []
        for part, wide in zip(chips.split(self.estimator.chunk), sigma.split(self.estimator.chunk), strict=True):
            batch = part.to(variance.device)
            still = problem.feature(batch)
            draws = [
                problem.distortion(batch, still, wide, problem.noise(batch, noise), variance) for _ in range(_PROBES)
            ]
            parts.append(torch.stack(draws).mean(dim=0))
        return torch.cat(parts).float()

    def _trained(self, channels: int) -> SigmaUNet:
        if self.unet is None:
            raise OptionError("the U-Net is untrained: call fit(chips) first, or take one with load(FILE)")
        first = next(self.unet.parameters())
        if first.shape[1] != channels:
            raise OptionError(f"the U-Net was trained on chips of {first.shape[1]} channels, these have {channels}")
        return self.unet

    def save(self, file: str | os.PathLike[str]) -> Path:
        """Write the trained U-Net and its settings to a ``.safetensors`` file, which appears whole or not at all.

        Raises:
            OptionError: there is no trained U-Net.
        """
        if self.unet is None or not isinstance(self.estimator, Amortized):
            raise OptionError("there is no trained U-Net to save: call fit(chips) of an amortized estimator first")
        target = Path(file)
        tensors = {key: tensor.cpu().contiguous() for key, tensor in self.unet.state_dict().items()}
        with replacing(target) as temporary:
            save_file(tensors, temporary, metadata={"format": _FORMAT, "settings": json.dumps(self.settings())})
        return target

    @classmethod
    def load(cls, file: str | os.PathLike[str], model: nn.Module, *, progress: bool = True) -> KnowledgePoints:
        """Return the explainer of a file that :meth:`save` wrote.

        Args:
            file: the U-Net with its settings.
            model: the network that it was trained on. The U-Net then needs it only for the distortion.
            progress: as for the class.

        Raises:
            CheckpointError: the file holds something else.
            UnknownNameError: the network has no layer of that name.
        """
        try:
            with safe_open(os.fspath(file), framework="pt") as stream:
                metadata = stream.metadata() or {}
                tensors = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118 (no mapping)
        except (OSError, SafetensorError) as err:
            raise CheckpointError(f"{file}: cannot be read as a U-Net of knowledge points ({err})") from err
        if metadata.get("format") != _FORMAT:
            raise CheckpointError(f"{file}: expected a U-Net that KnowledgePoints.save wrote, got other tensors")
        settings: dict[str, Any] = json.loads(metadata["settings"])
        estimator = Amortized(**settings.pop("estimator"))
        points = cls(model, estimator=estimator, progress=progress, **settings)
        unet = SigmaUNet(tensors["encoder.0.0.weight"].shape[1], patch=points.problem.patch, width=estimator.width)
        unet.load_state_dict(tensors)
        points.unet = unet.to(device_of(model)).eval()
        return points

    def settings(self) -> dict[str, Any]:
        """Return all arguments but the network, as JSON takes them."""
        p = self.problem
        return {
            "layer": p.feature.layer,
            "patch": p.patch,
            "mean": p.feature.mean,
            "std": p.feature.std,
            "alpha": p.alpha,
            "draws": p.draws,
            "exact": p.exact,
            "batch": p.batch,
            "channel": p.channel,
            "seed": p.seed,
            "estimator": asdict(self.estimator),
        }
