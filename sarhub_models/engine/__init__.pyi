from .finetuning import Finetuned, finetune
from .recipe import Recipe, from_dict, list_recipes, load_recipe
from .run import Run, is_finished, load_run, train
from .trainer import Trainer

__all__ = [
    "Finetuned",
    "Recipe",
    "Run",
    "Trainer",
    "finetune",
    "from_dict",
    "is_finished",
    "list_recipes",
    "load_recipe",
    "load_run",
    "train",
]
