from .finetuning.boxes import finetune_boxes
from .finetuning.chips import Finetuned, finetune
from .finetuning.masks import finetune_masks
from .finetuning.windowed import Trained
from .recipe import Recipe, from_dict, list_recipes, load_recipe
from .run import Run, is_finished, load_run, train
from .trainer import Trainer

__all__ = [
    "Finetuned",
    "Recipe",
    "Run",
    "Trained",
    "Trainer",
    "finetune",
    "finetune_boxes",
    "finetune_masks",
    "from_dict",
    "is_finished",
    "list_recipes",
    "load_recipe",
    "load_run",
    "train",
]
