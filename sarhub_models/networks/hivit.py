"""HiViT-B, a hierarchical vision transformer (Zhang et al., ICLR 2023), as SARATR-X trained it for radar targets.

Each patch of 16x16 pixels is 4x4 cells at first, which layers without attention process and merge two times.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial

import torch
import torch.nn.functional as F
from timm.layers import DropPath, LayerNorm, Mlp
from timm.models.vision_transformer import Block
from torch import nn

from ._head import Headed, create
from ._spec import NetworkSpec, Tensors
from ._vit import SIDE, check_patches, sides

_PATCH = 16
_CELL = 4  # pixels a side; a patch has as many cells a side
_NAME = "sarhub_hivit_base"
_NORM = partial(LayerNorm, eps=1e-6)
_GLOBAL = 5  # with windows, every fifth block of the last stage attends to the whole image all the same
_STEM, _STEM_RATIO = 4, 3.0  # layers in each of the first two stages
_OF_TRAINING = re.compile(r"mask_token$|decoder_|norm\.|sarfeature")


class CellLayer(nn.Module):
    """A residual layer without attention, (B, N, h, w, C) in and out."""

    def __init__(self, width: int, drop_path: float) -> None:
        super().__init__()
        self.norm2 = _NORM(width)
        self.mlp = Mlp(width, int(width * _STEM_RATIO))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the cells changed."""
        return x + self.drop_path(self.mlp(self.norm2(x)))


class MergeCells(nn.Module):
    """Four neighboring cells of a patch become one, (B, N, h, w, C) to (B, N, h / 2, w / 2, 2 C)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = _NORM(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the merged cells: of each four, the two of the left column come first."""
        parts = [x[..., row::2, column::2, :] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(torch.cat(parts, -1)))


class PatchEmbed(nn.Module):
    """Pixels become cells, (B, C, H, W) to (B, patches, 4, 4, width)."""

    def __init__(self, in_chans: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_chans, width, kernel_size=_CELL, stride=_CELL)
        self.norm = _NORM(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the cells, patches row by row."""
        x = self.proj(x)
        batch, width, height, across = x.shape
        cells = x.view(batch, width, height // _CELL, _CELL, across // _CELL, _CELL).permute(0, 2, 4, 3, 5, 1)
        return self.norm(cells.reshape(batch, -1, _CELL, _CELL, width))


class HiViT(Headed):
    """HiViT-B; input (B, in_chans, H, W) float, output (B, num_classes) logits.

    Args:
        num_classes: outputs of the head; 0 leaves it out.
        in_chans: channels of the input.
        img_size: side of the images, or height and width, multiples of 16.
        embed_dim: width of the last stage.
        depth: blocks of the last stage.
        num_heads: of its attention.
        window_size: patches a side of the windows that all but every fifth block are confined to, as the detectors
            of SARATR-X are built (14); ``None`` for attention to the whole image.
        drop_rate: dropout before the head.
        drop_path_rate: share of residual paths that are dropped in training, growing with depth.
        global_pool: ``"avg"``, the only one.
    """

    def __init__(
        self,
        num_classes: int = 0,
        in_chans: int = 3,
        img_size: int | tuple[int, int] = SIDE,
        embed_dim: int = 512,
        depth: int = 20,
        num_heads: int = 8,
        window_size: int | None = None,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        global_pool: str = "avg",
    ) -> None:
        super().__init__()
        height, width = sides({"img_size": img_size})
        self.grid = (height // _PATCH, width // _PATCH)
        self.window_size = window_size
        rates = torch.linspace(0, drop_path_rate, 2 * _STEM + depth, device="cpu").tolist()
        quarter, half = embed_dim // 4, embed_dim // 2
        self.patch_embed = PatchEmbed(in_chans, quarter)
        self.absolute_pos_embed = nn.Parameter(torch.zeros(1, self.grid[0] * self.grid[1], embed_dim))
        nn.init.trunc_normal_(self.absolute_pos_embed, std=0.02)
        stem = [
            *(CellLayer(quarter, rate) for rate in rates[:_STEM]),
            MergeCells(quarter),
            *(CellLayer(half, rate) for rate in rates[_STEM : 2 * _STEM]),
            MergeCells(half),
        ]
        main = [
            Block(embed_dim, num_heads, qkv_bias=True, drop_path=rate, norm_layer=_NORM) for rate in rates[2 * _STEM :]
        ]
        self.blocks = nn.ModuleList([*stem, *main])
        self.stem_depth = len(stem)
        self.fc_norm = _NORM(embed_dim)
        names = (1, _STEM, len(stem) + depth // 2 - 1, len(stem) + depth - 1)
        self.feature_info = [
            {"num_chs": channels, "reduction": reduction, "module": f"blocks.{block}"}
            for channels, reduction, block in zip(
                (quarter, half, embed_dim, embed_dim), (4, 8, 16, 16), names, strict=True
            )
        ]
        self.add_head(num_classes, embed_dim, drop_rate, global_pool)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the tokens of the patches, (B, patches, embed_dim), without a norm."""
        return self._run(x)[0]

    def pool(self, x: torch.Tensor) -> torch.Tensor:
        """Return the norm of the mean of the tokens."""
        return self.fc_norm(x.mean(1))

    def maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the maps at 1/4, 1/8 and, two times, 1/16 of the size; the first two as SARATR-X's detectors do."""
        return self._run(x)[1]

    def _run(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        wanted = {int(info["module"].rpartition(".")[2]) for info in self.feature_info}
        x, maps = self.patch_embed(x), []
        for index, block in enumerate(self.blocks):
            if index < self.stem_depth:
                x = block(x)
            else:
                if index == self.stem_depth:
                    x = x.flatten(1, -2) + self.absolute_pos_embed
                attends_to_all = self.window_size is None or (index - self.stem_depth) % _GLOBAL == _GLOBAL - 1
                x = block(x) if attends_to_all else self._in_windows(block, x)
            if index in wanted:
                maps.append(self._map(x))
        return x, maps

    def _in_windows(self, block: nn.Module, x: torch.Tensor) -> torch.Tensor:
        """Run a block on each window alone; zeros fill the last windows, and are attended to like tokens."""
        size = self.window_size or 1
        (height, width), (batch, _, channels) = self.grid, x.shape
        down, right = -height % size, -width % size
        x = F.pad(x.view(batch, height, width, channels), (0, 0, 0, right, 0, down))
        rows, columns = (height + down) // size, (width + right) // size
        windows = x.view(batch, rows, size, columns, size, channels).transpose(2, 3).reshape(-1, size * size, channels)
        x = block(windows).view(batch, rows, columns, size, size, channels).transpose(2, 3)
        return x.reshape(batch, rows * size, columns * size, channels)[:, :height, :width].reshape(batch, -1, channels)

    def _map(self, x: torch.Tensor) -> torch.Tensor:
        """Return the cells of all patches as one map."""
        cells = x if x.ndim == 5 else x[:, :, None, None]
        batch, _, down, right, width = cells.shape
        height, across = self.grid
        placed = cells.view(batch, height, across, down, right, width).permute(0, 5, 1, 3, 2, 4)
        return placed.reshape(batch, width, height * down, across * right)


def _rename(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Keep the encoder; the norm of the pooled features, which pre-training has not, gets its initial values."""
    if "blocks.4.reduction.weight" not in tensors or "absolute_pos_embed" not in tensors:
        return dict(tensors)
    renamed = {name: tensor for name, tensor in tensors.items() if not _OF_TRAINING.match(name)}
    width = tensors["absolute_pos_embed"][0, 0]
    renamed.setdefault("fc_norm.weight", torch.ones_like(width))
    renamed.setdefault("fc_norm.bias", torch.zeros_like(width))
    return renamed


def _fit(tensors: Mapping[str, torch.Tensor], options: Mapping[str, object]) -> Tensors:
    """Resample the position embeddings as SARATR-X's detectors do: by a factor, which is a little too large."""
    table = tensors["absolute_pos_embed"]
    height, width = (side // _PATCH for side in sides(options))
    side = int(table.shape[1] ** 0.5)
    if (height, width) == (side, side):
        return dict(tensors)
    grid = table.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    factors = ((height + 0.1) / side, (width + 0.1) / side)
    fitted = F.interpolate(grid, scale_factor=factors, mode="bicubic")
    return {**tensors, "absolute_pos_embed": fitted.permute(0, 2, 3, 1).flatten(1, 2)}


SPECS = {
    "hivit_base": NetworkSpec(
        timm_name=_NAME,
        stem="patch_embed.proj",
        head="head",
        timm_args={"img_size": SIDE},
        rename=_rename,
        create=partial(create, HiViT, _NAME),
        check=partial(check_patches, _PATCH),
        fit=_fit,
    )
}
