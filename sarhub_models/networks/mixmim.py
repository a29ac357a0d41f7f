"""MixMIM's Swin B without shifted windows (Liu et al., CVPR 2023), as SAR-W-MixMAE trained it for Sentinel-1."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import DropPath, Mlp
from torch import nn

from ..errors import OptionError
from ._head import Headed, create
from ._spec import NetworkSpec, Tensors
from ._vit import sides

_NAME = "sarhub_mixmim_base"
_PATCH, _SIDE = 4, 128
_DEPTHS, _HEADS, _WINDOWS = (2, 2, 18, 2), (4, 8, 16, 32), (8, 8, 8, 4)
_SMALLEST = _PATCH * 2 ** (len(_DEPTHS) - 1)
_TABLE = "relative_position_bias_table"
_OF_TRAINING = re.compile(r"mask_token$|decoder_")
_COMPUTED = ("relative_position_index",)


class WindowAttention(nn.Module):
    """Attention within each window, (windows, tokens, width) in and out.

    Args:
        width: of the tokens.
        heads: of the attention.
        window: tokens a side.
    """

    index: torch.Tensor

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.register_buffer("index", torch.empty(window**2, window**2, dtype=torch.long), persistent=False)
        self.init_non_persistent_buffers()

    def init_non_persistent_buffers(self) -> None:
        """Compute which bias belongs to which two tokens; called after a build without numbers, too."""
        if self.index.is_meta:
            return
        places = torch.arange(self.window)
        row, column = (grid.flatten() for grid in torch.meshgrid(places, places, indexing="ij"))
        down, right = row[:, None] - row[None], column[:, None] - column[None]
        self.index.copy_((down + self.window - 1) * (2 * self.window - 1) + right + self.window - 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the tokens of each window, mixed."""
        count, tokens, width = x.shape
        qkv = self.qkv(x).view(count, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        bias = self.relative_position_bias_table[self.index.flatten()].view(tokens, tokens, self.heads).permute(2, 0, 1)
        query, key, value = qkv.unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias[None])
        # Copied whatever its strides are: an exported graph may compute it with others than this one.
        mixed = mixed.transpose(1, 2).clone(memory_format=torch.contiguous_format)
        return self.proj(mixed.view(count, tokens, width))


class MixBlock(nn.Module):
    """A block of attention in windows and two linear layers, (B, H, W, C) in and out."""

    def __init__(self, width: int, heads: int, window: int, drop_path: float) -> None:
        super().__init__()
        self.window = window
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, window)
        self.mlp = Mlp(width, 4 * width)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the map changed."""
        (batch, height, width, channels), size = x.shape, self.window
        cut = self.norm1(x).view(batch, height // size, size, width // size, size, channels).transpose(2, 3)
        mixed = self.attn(cut.reshape(-1, size * size, channels))
        placed = mixed.view(batch, height // size, width // size, size, size, channels).transpose(2, 3)
        x = x + self.drop_path(placed.reshape(batch, height, width, channels))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class MergePatches(nn.Module):
    """Four neighboring tokens become one, (B, H, W, C) to (B, H / 2, W / 2, 2 C)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the merged tokens: of each four, the two of the left column come first."""
        parts = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(torch.cat(parts, -1)))


class Stage(nn.Module):
    """Blocks of one resolution, and what halves it behind them."""

    def __init__(self, width: int, heads: int, window: int, rates: Sequence[float], last: bool) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(MixBlock(width, heads, window, rate) for rate in rates))
        self.downsample = nn.Identity() if last else MergePatches(width)


class PatchEmbed(nn.Module):
    """Pixels become tokens, (B, C, H, W) to (B, H / 4, W / 4, width)."""

    def __init__(self, in_chans: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_chans, width, kernel_size=_PATCH, stride=_PATCH)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the map of tokens."""
        return self.norm(self.proj(x).permute(0, 2, 3, 1))


class MixMIM(Headed):
    """MixMIM B; input (B, in_chans, H, W) float, output (B, num_classes) logits.

    Args:
        num_classes: outputs of the head; 0 leaves it out.
        in_chans: channels of the input.
        img_size: side of the images in pixels.
        window_size: tokens a side of the windows, one number a stage; a window is never larger than the map.
        embed_dim: width of the first stage.
        depths: blocks of each stage.
        drop_rate: dropout before the head.
        drop_path_rate: share of residual paths that are dropped in training, growing with depth.
        global_pool: ``"avg"``, the only one.
    """

    def __init__(
        self,
        num_classes: int = 0,
        in_chans: int = 2,
        img_size: int | tuple[int, int] = _SIDE,
        window_size: Sequence[int] = _WINDOWS,
        embed_dim: int = 128,
        depths: Sequence[int] = _DEPTHS,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        global_pool: str = "avg",
    ) -> None:
        super().__init__()
        height, width = (side // _PATCH for side in sides({"img_size": img_size}))
        rates = torch.linspace(0, drop_path_rate, sum(depths), device="cpu").tolist()
        self.grid = (height, width)
        self.patch_embed = PatchEmbed(in_chans, embed_dim)
        self.absolute_pos_embed = nn.Parameter(torch.zeros(1, height * width, embed_dim))
        nn.init.trunc_normal_(self.absolute_pos_embed, std=0.02)
        self.layers = nn.ModuleList(
            Stage(
                embed_dim * 2**stage,
                _HEADS[stage],
                window,
                rates[sum(depths[:stage]) : sum(depths[: stage + 1])],
                last=stage == len(depths) - 1,
            )
            for stage, window in enumerate(windows_of(img_size, window_size))
        )
        wide = embed_dim * 2 ** (len(depths) - 1)
        self.norm = nn.LayerNorm(wide)
        self.feature_info = [
            {"num_chs": embed_dim * 2**stage, "reduction": _PATCH * 2**stage, "module": f"layers.{stage}.blocks"}
            for stage in range(len(depths))
        ]
        self.add_head(num_classes, wide, drop_rate, global_pool)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the normalized tokens of the last stage, (B, tokens, 8 embed_dim)."""
        return self.norm(self._stages(x)[-1].flatten(1, 2))

    def pool(self, x: torch.Tensor) -> torch.Tensor:
        """Return the mean of the tokens."""
        return x.mean(1)

    def maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the outputs of the four stages."""
        return [found.permute(0, 3, 1, 2).contiguous() for found in self._stages(x)]

    def _stages(self, x: torch.Tensor) -> list[torch.Tensor]:
        x = self.patch_embed(x)
        x, found = x + self.absolute_pos_embed.view(1, *self.grid, -1), []
        for stage in self.layers:
            assert isinstance(stage, Stage)
            x = stage.blocks(x)
            found.append(x)
            x = stage.downsample(x)
        return found


def windows_of(img_size: int | tuple[int, int], window_size: Sequence[int]) -> list[int]:
    """Return the tokens a side of each stage's windows."""
    side = min(sides({"img_size": img_size})) // _PATCH
    return [min(window, side // 2**stage) for stage, window in enumerate(window_size)]


def _check(options: Mapping[str, Any]) -> None:
    if "output_stride" in options:
        raise OptionError("MixMIM merges patches between its stages and cannot be dilated: leave output_stride out")
    height, width = sides(options)
    if height % _SMALLEST or width % _SMALLEST or min(height, width) < _SMALLEST:
        raise OptionError(f"img_size {height}x{width}: both sides must be multiples of {_SMALLEST}")
    windows = windows_of((height, width), options.get("window_size", _WINDOWS))
    for stage, window in enumerate(windows):
        reduction = _PATCH * 2**stage
        if height // reduction % window or width // reduction % window:
            raise OptionError(
                f"img_size {height}x{width}: the windows of stage {stage + 1} need multiples of {reduction * window} "
                "pixels; resize the images, or give window_size"
            )


def _rename(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    if "layers.0.downsample.reduction.weight" not in tensors or "absolute_pos_embed" not in tensors:
        return dict(tensors)
    return {
        name: tensor
        for name, tensor in tensors.items()
        if not _OF_TRAINING.match(name) and not name.endswith(_COMPUTED)
    }


def _fit(tensors: Mapping[str, torch.Tensor], options: Mapping[str, Any]) -> Tensors:
    """Resample positions and, where windows change, their tables of biases: bicubic, to the size."""
    height, width = (side // _PATCH for side in sides(options))
    fitted = {**tensors, "absolute_pos_embed": _resample(tensors["absolute_pos_embed"][0], (height, width))[None]}
    windows = windows_of((height * _PATCH, width * _PATCH), options.get("window_size", _WINDOWS))
    for name in tensors:
        if name.endswith(_TABLE):
            window = windows[int(name.split(".")[1])]
            fitted[name] = _resample(tensors[name], (2 * window - 1, 2 * window - 1))
    return fitted


def _resample(table: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return a table (places, channels) of a square for another rectangle."""
    side = int(len(table) ** 0.5)
    if size == (side, side):
        return table
    grid = table.view(1, side, side, -1).permute(0, 3, 1, 2)
    return F.interpolate(grid, size, mode="bicubic").permute(0, 2, 3, 1).reshape(-1, table.shape[-1])


SPECS = {
    "mixmim_base": NetworkSpec(
        timm_name=_NAME,
        stem="patch_embed.proj",
        head="head",
        timm_args={"img_size": _SIDE},
        rename=_rename,
        create=partial(create, MixMIM, _NAME),
        check=_check,
        fit=_fit,
    )
}
