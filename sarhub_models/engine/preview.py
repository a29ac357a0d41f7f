"""The preview of ``--dry-run``: the resolved recipe, the network, and the time that the run would take here."""

from __future__ import annotations

import time

import torch
from accelerate import Accelerator
from rich import print as show
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from ..errors import SarHubError
from .augment import INPUT
from .batches import steps_per_epoch
from .initialization import build_network, check_init
from .sections import Recipe
from .splits import open_training
from .trainer import make_accelerator

_TIMED = 3


def preview(recipe: Recipe) -> None:
    """Print a recipe as YAML, its network's parts with their sizes and costs, and the expected time.

    The time is that of a few steps on made-up images on one process of this machine, times the steps; without the
    data, whose number of samples decides, it is given per step.

    Raises:
        UnknownNameError: the starting weights have an unknown name; whether they can be had is not looked for.
        OptionError: they are of another network.
    """
    check_init(recipe.model.network, recipe.model.init)
    print(recipe.to_yaml())
    if recipe.runtime.threads is not None:
        torch.set_num_threads(recipe.runtime.threads)
    accelerator = make_accelerator(recipe.runtime, 1)
    try:
        train = open_training(recipe.data, recipe.runtime.seed)
        classes, samples, note = len(train.class_names), len(train), ""
    except SarHubError as err:
        classes, samples, note = 10, None, f"(10 classes assumed, and no number of samples: {err})"
    model = recipe.model.model_copy(update={"init": "none"})
    side, channels = recipe.preprocess.side, (recipe.data.input or INPUT)["channels"]
    network = build_network(model, classes, side, recipe.runtime.seed, in_chans=channels).to(accelerator.device)
    views, seen = 2 if recipe.contrast.weight else 1, recipe.augment.window or side
    images = torch.zeros(views * recipe.optim.batch_size, channels, seen, seen)
    images = images.to(accelerator.device, memory_format=torch.channels_last)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(images[:1])
    show(_summary(recipe.model.network, network, counter))
    seconds = _seconds_per_step(network.train(), images, accelerator, recipe)
    show(f"{seconds:.3f} s per step of {recipe.optim.batch_size} images on {accelerator.device.type} {note}")
    if samples is None:
        return
    world = accelerator.num_processes
    steps = steps_per_epoch(samples, recipe.optim, world)
    show(
        f"{samples} samples, {classes} classes, {steps} steps per epoch: about {_clock(steps * seconds)} per epoch, "
        f"{_clock(steps * seconds * recipe.optim.epochs)} for {recipe.optim.epochs} epochs, without validation"
    )


def _summary(name: str, network: torch.nn.Module, counter: FlopCounterMode) -> Table:
    """Return parameters, and multiplications and additions for an image, of the parts of a network."""
    table = Table("part", "parameters, M", "GMAC/image")
    counts = counter.get_flop_counts()
    for part, module in [*network.named_children(), (name, network)]:
        parameters = sum(parameter.numel() for parameter in module.parameters())
        key = type(network).__name__ if module is network else f"{type(network).__name__}.{part}"
        flops = sum(counts.get(key, {}).values())
        if parameters:
            table.add_row(part, f"{parameters / 1e6:.2f}", f"{flops / 2e9:.2f}")
    return table


def _seconds_per_step(
    network: torch.nn.Module, images: torch.Tensor, accelerator: Accelerator, recipe: Recipe
) -> float:
    if recipe.runtime.channels_last:
        network = network.to(memory_format=torch.channels_last)
    network, optimizer = accelerator.prepare(network, torch.optim.AdamW(network.parameters(), fused=True))
    begun = 0.0
    for index in range(1 + _TIMED):
        if index == 1:
            begun = time.perf_counter()
        loss = network(images).square().mean()
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
    return (time.perf_counter() - begun) / _TIMED


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"
