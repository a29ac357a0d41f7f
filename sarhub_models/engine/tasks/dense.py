"""The common part of tasks with a decoder: the network, its head, and moves of the answer along with the image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...models.dense import BACKBONE, build_dense
from ...transforms import Geometry
from ...zoo.tasks import DECODERS
from ..augment import draw, rows_of
from ..batches import Batch
from ..initialization import load_start
from ..objective import Objective
from ..optimizer import freeze_backbone
from ..sections import Model


class DenseObjective(Objective):
    """A task whose network has a decoder; arguments as of :class:`.Objective`."""

    @property
    def backbone(self) -> str:
        """The beginning of the names of the backbone's parameters."""
        return BACKBONE[DECODERS[str(self.recipe.model.decoder)]]

    def build(self, model: Model, channels: int) -> nn.Module:
        """Return the network with the starting weights below its decoder; see :meth:`.Objective.build`."""
        recipe = self.recipe
        torch.manual_seed(recipe.runtime.seed)
        side = recipe.preprocess.side
        network = build_dense(
            recipe.model.network, str(model.decoder), num_classes=self.classes, in_chans=channels, side=side
        )
        load_start(network, model, side, in_chans=channels)
        return network

    @property
    def head(self) -> tuple[str, ...]:
        """Beginnings of the names of the decoder's parameters."""
        return self.heads

    heads: tuple[str, ...] = ()

    def freeze(self, network: nn.Module) -> None:
        """Leave the backbone as it is; the decoder trains."""
        freeze_backbone(network, self.head)
        for name, module in network.named_modules():
            if not f"{name}.".startswith(self.backbone):
                module.training = True

    def prepared(self, batch: Batch, step: int) -> tuple[Tensor, Tensor]:
        """Return the input of the network, and the numbers (3, B) that :class:`.Geometry` moved it by."""
        recipe, process = self.recipe, self.process
        rows = rows_of(self.transform)
        numbers = draw(recipe.runtime.seed, step, recipe.optim.batch_size, process.rank, process.world, rows=rows)
        images = self._laid_out(self.transform(batch.images, numbers=numbers))
        before = 0
        for name, part in self.transform.steps.items():
            if name == Geometry.step:
                break
            before += getattr(part, "draws", 0)
        return images, numbers[before : before + Geometry.draws]
