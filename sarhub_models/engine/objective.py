"""Objectives: what is minimized for a mini-batch, of one data set or of several sources with a head each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from ..losses import make_loss, nt_xent
from ..networks import spec
from ..transforms import Pipeline
from .augment import Numbers, cutmix, draw, make_transform, rows_of
from .batches import Batch, Rank
from .initialization import build_network
from .metrics import DEFAULT_MONITOR, make_metrics
from .optimizer import freeze_backbone
from .scoring import score
from .sections import Model, Recipe
from .seeds import generator
from .sources import Sources, Split


class Objective(nn.Module):
    """The task of one data set: its network, loss and scores. Here, classes of whole images.

    Args:
        recipe: what to compute.
        train: training split.
        mean: of the pixels after the operator.
        std: of the pixels after the operator.
        process: this process.

    Attributes:
        detail_label: what the numbers of a class are, where the detail of the scores is one number a class.
    """

    detail_label: ClassVar[str] = "F1"

    def __init__(self, recipe: Recipe, train: Split, mean: Numbers, std: Numbers, process: Rank) -> None:
        super().__init__()
        self.recipe, self.process = recipe, process
        self.classes, self.multilabel = len(train.class_names), train.multilabel
        self.transform = make_transform(recipe.preprocess, mean, std, augment=recipe.augment, given=recipe.data.input)
        counts = torch.from_numpy(train.counts)
        self.loss = make_loss(**recipe.loss.model_dump(), counts=counts, multilabel=train.multilabel)

    @classmethod
    def score_names(cls, train: Split) -> tuple[str, list[str]]:
        """Return the score by which the best epoch is chosen by default, and all scores."""
        metrics = make_metrics(max(2, len(train.class_names)), train.multilabel)
        return DEFAULT_MONITOR[train.multilabel], [str(name) for name in metrics]

    @property
    def head(self) -> tuple[str, ...]:
        """Beginnings of the names of the head's parameters; the others are the backbone's."""
        return (f"{spec(self.recipe.model.network).head}.",)

    def build(self, model: Model, channels: int) -> nn.Module:
        """Return the network with its starting weights, on the CPU.

        Args:
            model: section of the recipe, whose ``init`` is ``"none"`` where a checkpoint has the weights.
            channels: of the input.
        """
        recipe = self.recipe
        return build_network(model, self.classes, recipe.preprocess.side, recipe.runtime.seed, in_chans=channels)

    def freeze(self, network: nn.Module) -> None:
        """Leave all but the head as it is."""
        freeze_backbone(network, self.head)

    def score(
        self, network: nn.Module, loader: Iterable[Any], transform: Pipeline, device: torch.device
    ) -> tuple[dict[str, float], Tensor]:
        """Return the scores of a network and their detail, as :func:`.score` does."""
        return score(network, loader, transform, self.classes, self.multilabel, device=device)

    def attach(self, network: nn.Module) -> nn.Module:
        """Return what is trained: the network, with what only training needs."""
        return network

    def detach(self, trained: nn.Module) -> nn.Module:
        """Return the network in what :meth:`attach` made."""
        return trained

    def forward(self, model: nn.Module, batch: Batch, step: int) -> Tensor:
        """Return the loss of a mini-batch, on the device of the batch.

        Args:
            model: what :meth:`attach` made, or a wrapper of it.
            batch: of this process.
            step: number of the mini-batch; all random numbers follow from it and the seed.
        """
        recipe, seed = self.recipe, self.recipe.runtime.seed
        rows, size = rows_of(self.transform), recipe.optim.batch_size
        numbers = draw(seed, step, size, self.process.rank, self.process.world, rows=rows)
        rng = generator(seed, "cutmix", step)  # alike everywhere: the losses of all processes meet in each call
        images = self.transform(batch.images, numbers=numbers)
        images, pasted, kept = cutmix(images, batch.labels, recipe.augment.cutmix, rng)
        logits = model(self._laid_out(images))
        value: Tensor = self.loss(logits, batch.labels)
        return value if kept == 1 else kept * value + (1 - kept) * self.loss(logits, pasted)

    def _laid_out(self, images: Tensor) -> Tensor:
        layout = torch.channels_last if self.recipe.runtime.channels_last else torch.contiguous_format
        return images.contiguous(memory_format=layout)


class Projected(nn.Module):
    """A network that also returns a projection of its features, in which views of a sample are compared.

    Args:
        network: with timm's ``forward_features``, ``forward_head`` and ``get_classifier``.
        width: of the projection.
    """

    def __init__(self, network: nn.Module, width: int) -> None:
        super().__init__()
        self.network: Any = network
        features: Any = network.head_hidden_size
        self.projection = nn.Sequential(nn.Linear(features, features), nn.ReLU(), nn.Linear(features, width))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B, C) and projections (B, width)."""
        network = self.network
        features = network.forward_head(network.forward_features(x), pre_logits=True)
        return network.get_classifier()(features), self.projection(features)


class SourcesObjective(Objective):
    """The losses of several sources, each of its own outputs, and the contrastive term over all samples.

    A source's loss counts by its share of the samples. With the contrastive term each sample is seen in two views.
    Arguments as of :class:`Objective`.
    """

    def __init__(self, recipe: Recipe, train: Sources, mean: Numbers, std: Numbers, process: Rank) -> None:
        nn.Module.__init__(self)
        self.recipe, self.process, self.sources = recipe, process, train
        self.classes, self.multilabel = len(train.class_names), False
        self.views = 2 if recipe.contrast.weight else 1
        self.slices = train.slices(recipe.optim.batch_size)
        self.transforms: list[Pipeline] = []
        self.losses = nn.ModuleList()
        for part in train.parts:
            kind = part.section.geometry or recipe.augment.geometry
            augment = recipe.augment.model_copy(update={"geometry": kind})
            self.transforms.append(
                make_transform(recipe.preprocess, mean, std, augment=augment, given=recipe.data.input)
            )
            options = {"name": "ce"} if part.section.loss is None else part.section.loss.model_dump()
            self.losses.append(make_loss(**options, counts=torch.from_numpy(part.split.counts)))

    def attach(self, network: nn.Module) -> nn.Module:
        """Return the network, with a projection where views are compared."""
        return network if self.views == 1 else Projected(network, self.recipe.contrast.width)

    def detach(self, trained: nn.Module) -> nn.Module:
        """Return the network in what :meth:`attach` made."""
        return cast(nn.Module, trained.network) if isinstance(trained, Projected) else trained

    def forward(self, model: nn.Module, batch: Batch, step: int) -> Tensor:
        """Return the loss of a mini-batch, on the device of the batch; see :meth:`Objective.forward`."""
        size = self.recipe.optim.batch_size
        views = [self._view(batch, step, view) for view in range(self.views)]
        found = model(self._laid_out(torch.cat(views)))
        logits, projected = found if isinstance(found, tuple) else (found, None)
        logits = logits.unflatten(0, (self.views, size))
        value = logits.new_zeros((), dtype=torch.float32)
        for part, rows, loss in zip(self.sources.parts, self.slices, self.losses, strict=True):
            if part.section.loss is not None:
                own = logits[:, rows, part.classes].flatten(0, 1)
                labels = (batch.labels[rows] - part.classes.start).repeat(self.views)
                value = value + (rows.stop - rows.start) / size * loss(own, labels)
        if projected is not None:
            contrast = self.recipe.contrast
            value = value + contrast.weight * nt_xent(*projected.split(size), temperature=contrast.temperature)
        return value

    def _view(self, batch: Batch, step: int, view: int) -> Tensor:
        process, seed, seen = self.process, self.recipe.runtime.seed, []
        for part, rows, transform in zip(self.sources.parts, self.slices, self.transforms, strict=True):
            numbers = draw(
                seed,
                step,
                rows.stop - rows.start,
                process.rank,
                process.world,
                rows=rows_of(transform),
                purpose=(part.name, view),
            )
            seen.append(transform(batch.images[rows], numbers=numbers))
        return torch.cat(seen)
