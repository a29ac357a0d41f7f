"""The commands that detection and segmentation share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.experiments.command import command, new_app

from .run import OWN, parse_options
from .task import MMExperiment, Task, parse_trials, run_table

__all__ = ["commands"]

Model = Annotated[str, typer.Argument(help="A name of 'sarhub list', such as resnet50_ben.")]
Dataset = Annotated[str, typer.Argument(help="Name of a configuration, such as ssdd.")]
Data = Annotated[Path, typer.Option(help="Folder of the prepared data set.")]
Options = Annotated[
    list[str] | None, typer.Option(metavar="KEY=VALUE", help="Changes of the configuration; may be repeated.")
]


def commands(task: Task, description: str) -> typer.Typer:
    """Return the command lines ``train`` and ``config MODEL DATASET --data DIR`` of a task.

    Args:
        task: what to train.
        description: of the whole, in its help.
    """
    app = new_app(help=description, no_args_is_help=True)

    @command(app)
    def train(
        model: Model,
        dataset: Dataset,
        data: Data,
        init: Annotated[
            list[str] | None,
            typer.Option(
                metavar="own|[LABEL=](none|imagenet|FILE|RUN_DIR|NAME)",
                help="Starting weights; may be repeated. LABEL names them in the table and the folder. Default: own",
            ),
        ] = None,
        seeds: Annotated[int, typer.Option(min=1, help="Runs of each, with the seeds 0, 1, ...")] = 1,
        out: Annotated[
            Path | None, typer.Option(help="Folder of the runs and the table. Default: outputs/TASK")
        ] = None,
        threads: Annotated[int | None, typer.Option(min=1, help="Of PyTorch on a CPU.")] = None,
        cfg_options: Options = None,
    ) -> None:
        """Train and test; a finished run is not done again, an interrupted one goes on."""
        trials = parse_trials(task, model, dataset, init or [OWN], seeds)
        folder = Path("outputs", task.name) if out is None else out
        experiment = MMExperiment(folder, task, data, parse_options(cfg_options or []), threads)
        typer.echo(run_table(experiment, trials))

    @command(app)
    def config(model: Model, dataset: Dataset, data: Data, cfg_options: Options = None) -> None:
        """Print the complete configuration, for the own tools of the MM packages: config ... > FILE.py."""
        found = task.load_config(model, dataset)
        task.place(found, data)
        found.merge_from_dict(parse_options(cfg_options or []))
        typer.echo(found.pretty_text)

    return app
