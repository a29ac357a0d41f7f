from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml

from sarhub_models.datasets import catalog
from sarhub_models.engine.recipe import completed, from_dict, list_recipes, override
from sarhub_models.engine.sections import Range, Recipe
from sarhub_models.errors import ManifestError, OptionError, UnknownNameError
from sarhub_models.networks import names
from sarhub_models.transforms import OPERATORS
from training.recipes import RECIPES, load_recipe

CONSTANTS = {
    "tsx": ("reinhard_devlin", (3.5, 4.5, 4.0), 0.17721633016340846, 0.023696591996910408),
    "ben": ("ptls", (0, 2, 1), 0.5995, 0.0005743462),
    "osu": ("ptls", (0, 3, 1.5), 0.3159206957121415, 0.034312685984107194),
}
RANGED = [operator for operator in OPERATORS if operator != "none"]
OTHER_VALUES: dict[str, Any] = {
    "model.init": "imagenet",
    "model.head": "probe",
    "model.drop_rate": 0.25,
    "model.drop_path_rate": 0.05,
    "model.lora": 4,
    "data.root": "/data",
    "data.lists": "/lists",
    "data.shards": "http://localhost/shards",
    "data.options": {"band": "VV", "more": [1]},
    "data.full_scale": 7.0,
    "data.input": {"bands": ["VV"]},
    "data.radiometry": "db",
    "data.workers": 0,
    "data.shuffle_buffer": 5,
    "data.on_error": "skip",
    "data.train": "train_10",
    "data.test": "val",
    "data.fraction": 0.3,
    "data.balanced": True,
    "preprocess.crop": 96,
    "preprocess.operator": "log_amplitude",
    "preprocess.draa": False,
    **{
        f"preprocess.operators.{operator}.{value}": 2.0
        for operator, value in itertools.product(RANGED, ("low", "eval_value"))
    },
    **{f"preprocess.operators.{operator}.high": 20.0 for operator in RANGED},
    "preprocess.size": 64,
    "preprocess.mean": 0.5,
    "preprocess.std": 0.25,
    "preprocess.given": {"mean": None, "std": None, "size": 32},
    "augment.geometry": "dihedral",
    "augment.cutmix": 0.25,
    "augment.window": 48,
    "augment.window_scale": 0.5,
    "augment.looks": 2.0,
    "contrast.temperature": 0.1,
    "contrast.width": 64,
    "loss.name": "cbl",
    "loss.beta": 0.99,
    "loss.gamma": 2.0,
    "loss.form": "released",
    "optim.name": "sgd",
    "optim.momentum": 0.5,
    "optim.schedule": "step",
    "optim.step_epochs": 7,
    "optim.step_factor": 0.1,
    "optim.epochs": 3,
    "optim.epoch_steps": 6,
    "optim.batch_size": 4,
    "optim.accumulate": 2,
    "optim.max_lr": 1e-3,
    "optim.lr_factor": 0.5,
    "optim.backbone_factor": 0.1,
    "optim.keep_norms": True,
    "optim.eps": 1e-6,
    "optim.weight_decay": 0.1,
    "optim.decay_vectors": False,
    "optim.ema": 0.9,
    "optim.patience": 3,
    "evaluation.split": "test",
    "evaluation.batch_size": 4,
    "evaluation.monitor": "f1_macro",
    "runtime.seed": 9,
    "runtime.precision": "fp32",
    "runtime.channels_last": False,
    "runtime.compile": True,
    "runtime.sync_batchnorm": True,
    "runtime.threads": 2,
    "runtime.save_minutes": 0.5,
}


def leaves(recipe: Recipe) -> dict[str, Any]:
    """Every value by its ``section.key``."""
    found: dict[str, Any] = {}

    def visit(values: dict[str, Any], prefix: str) -> None:
        for key, value in values.items():
            if isinstance(value, dict) and key not in ("options", "input", "given"):
                visit(value, f"{prefix}{key}.")
            else:
                found[f"{prefix}{key}"] = value

    visit(recipe.model_dump(mode="json"), "")
    return found


@pytest.mark.parametrize("network", ["resnet18", "resnet50", "resnet101", "senet50", "mobilenetv3", "densenet121"])
@pytest.mark.parametrize("data", CONSTANTS)
def test_constants_of_the_paper(network: str, data: str) -> None:
    recipe = load_recipe(f"{network}_{data}")
    operator, (low, high, eval_value), mean, std = CONSTANTS[data]
    assert (recipe.preprocess.operator, recipe.preprocess.draa, recipe.preprocess.size) == (operator, True, 128)
    assert recipe.preprocess.range == Range(low=low, high=high, eval_value=eval_value)
    assert (recipe.preprocess.mean, recipe.preprocess.std) == (mean, std)
    assert recipe.augment.geometry == "flip_rotate"
    optim = recipe.optim
    assert (optim.epochs, optim.batch_size, optim.eps, optim.weight_decay) == (300, 128, 1e-8, 0.05)
    assert recipe.evaluation.batch_size == 200
    assert optim.max_lr * optim.lr_factor == pytest.approx(2.5e-4)


@pytest.mark.parametrize("network", ["swin_t", "swin_b"])
@pytest.mark.parametrize("data", CONSTANTS)
def test_swin_has_a_tenth_of_the_learning_rate_and_drops_paths(network: str, data: str) -> None:
    recipe = load_recipe(f"{network}_{data}")
    assert recipe.optim.max_lr * recipe.optim.lr_factor == pytest.approx(2.5e-5)
    assert recipe.model.drop_path_rate == 0.1


@pytest.mark.slow
def test_every_network_goes_with_every_data_set_and_survives_yaml() -> None:
    data = set(catalog.names("recognition"))
    assert set(list_recipes()) == {f"{network}_{name}" for network in names() for name in data}
    for name in list_recipes():
        recipe = load_recipe(name)
        assert recipe.name == name
        assert from_dict(yaml.safe_load(recipe.to_yaml())) == recipe


def test_the_values_of_one_recipe_come_before_those_of_its_network_and_data() -> None:
    own = yaml.safe_load((RECIPES / "mobilenetv3_dsn.yaml").read_text(encoding="utf-8"))
    bundled, other = (load_recipe(name).model_dump(mode="json") for name in ("mobilenetv3_dsn", "resnet18_dsn"))
    given = {(section, key): value for section, values in own.items() for key, value in values.items()}
    assert all(bundled[section][key] == value for (section, key), value in given.items())
    assert any(other[section][key] != value for (section, key), value in given.items())
    assert bundled["data"] == other["data"]


@pytest.mark.slow
def test_every_value_can_be_overridden() -> None:
    plain = leaves(load_recipe("resnet18_ben"))
    given_by_the_name = {"model.network", "data.name"}
    # of several sources, of other tasks than classes, of no preprocessing that is given
    not_with_the_others = {"contrast.weight", "model.decoder", "augment.operators"}
    assert set(plain) == set(OTHER_VALUES) | given_by_the_name | not_with_the_others
    assert [key for key, value in OTHER_VALUES.items() if plain[key] == value] == []
    texts = [f"{key}={yaml.safe_dump(value, default_flow_style=True)}" for key, value in OTHER_VALUES.items()]
    changed = load_recipe("resnet18_ben", texts)
    assert leaves(changed) == OTHER_VALUES | {key: plain[key] for key in given_by_the_name | not_with_the_others}
    for text in texts:  # and each on its own leaves all others alone
        key = text.partition("=")[0]
        single = leaves(load_recipe("resnet18_ben", [text]))
        assert {k: v for k, v in single.items() if k != key} == {k: v for k, v in plain.items() if k != key}


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("1E4", 1e4), ("2.5e-4", 2.5e-4), ("2.5e4", 2.5e4), ("+3e+2", 300.0), ("7", 7.0)],
)
def test_numbers_in_all_their_spellings(text: str, value: float) -> None:
    assert load_recipe("resnet18_osu", [f"optim.max_lr={text}"]).optim.max_lr == value
    assert load_recipe("resnet18_osu", [f"data.options.x={text}"]).data.options["x"] == pytest.approx(value)


def test_values_keep_equal_signs_and_null_takes_a_value_away() -> None:
    recipe = load_recipe("mobilenetv3_dsn", ["data.root=/a=b/c d", "optim.ema=null", "data.options.parts=[s1]"])
    assert recipe.data.root == Path("/a=b/c d") and recipe.optim.ema is None
    assert recipe.data.options == {"parts": ["s1"]}
    assert load_recipe("mobilenetv3_dsn", ["optim.epochs=3", "optim.epochs=4"]).optim.epochs == 4


@pytest.mark.parametrize(
    ("name", "assignment", "hint"),
    [
        ("resnet18_bem", "optim.epochs=3", "'resnet18_ben'"),
        ("mobilenet_dsn", "optim.epochs=3", "'mobilenetv3_dsn'"),
        ("resnet18_ben", "optim.epoch=3", "'optim.epochs'"),
        ("resnet18_ben", "seed=3", "'runtime.seed'"),
        ("resnet18_ben", "data.option.band=VH", "'data.options'"),
        ("resnet18_ben", "preprocess.operators.ptls.lo=3", "'preprocess.operators.ptls.low'"),
        ("resnet18_ben", "preprocess.operators.ptsl.low=3", "'preprocess.operators.ptls.low'"),
        ("resnet18_ben", "optim=3", "'optim."),
    ],
)
def test_a_typo_is_answered_with_the_closest_name(name: str, assignment: str, hint: str) -> None:
    with pytest.raises(UnknownNameError, match=f"did you mean .*{hint}"):
        load_recipe(name, [assignment])


@pytest.mark.parametrize(
    ("assignment", "named"),
    [
        ("optim.max_lr=-1", "optim.max_lr: .*greater than 0, got -1"),
        ("optim.max_lr=.nan", "optim.max_lr: .*finite"),
        ("optim.max_lr=", "optim.max_lr: .*got None"),
        ("optim.epochs=1.5", "optim.epochs: .*got 1.5"),
        ("optim.epochs=many", "optim.epochs: .*got 'many'"),
        ("augment.cutmix=2", "augment.cutmix: .*got 2"),
        ("runtime.precision=fp8", "runtime.precision: .*'bf16'.*got 'fp8'"),
        ("preprocess.operator=ptl", "preprocess: .*did you mean 'ptls'"),
        ("preprocess.operators.ptls.low=5", "preprocess.operators.ptls: .*low=5.0 is above high=2.0$"),
        ("data.on_error=ignore", "data.on_error: .*'skip', got 'ignore'"),
    ],
)
def test_a_bad_value_is_named(assignment: str, named: str) -> None:
    with pytest.raises(ManifestError, match=named):
        load_recipe("resnet18_ben", [assignment])


def test_all_bad_values_are_named_at_once_and_missing_ones_too() -> None:
    values = load_recipe("resnet18_ben", ["optim.epochs=3"]).model_dump(mode="json")
    values["optim"]["epochs"], values["runtime"]["seed"] = 0, -1
    del values["data"]["name"]
    with pytest.raises(ManifestError) as caught:
        from_dict(values)
    assert all(key in str(caught.value) for key in ("optim.epochs", "runtime.seed", "data.name: Field required"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("assignment", ["optim.epochs", "data.root=@here", "data.root=[a"])
def test_what_is_no_assignment_is_refused_in_one_line(assignment: str) -> None:
    with pytest.raises(OptionError) as caught:
        load_recipe("resnet18_ben", [assignment])
    assert assignment.partition("=")[0] in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("assignment", "name"), [("model.network=swin_t", "swin_t_ben"), ("data.name=osu", "resnet18_osu")]
)
def test_a_name_and_assignments_that_contradict_each_other_are_refused(assignment: str, name: str) -> None:
    with pytest.raises(OptionError, match=name):  # the constants would be those of the other name
        load_recipe("resnet18_ben", [assignment])


PLAIN = [
    *(f"optim.{key}" for key in ("name", "max_lr", "lr_factor", "weight_decay", "schedule", "step_epochs")),
    *(f"optim.{key}" for key in ("step_factor", "epochs", "batch_size", "ema")),
    *("loss.name", "loss.gamma", "augment.cutmix"),
]


@pytest.mark.parametrize("data", ["mstar", "opensarship", "fusar", "dsn", "folder"])
@pytest.mark.parametrize("network", names())
def test_fine_tuning_is_that_of_the_paper_whatever_the_pre_training_is(network: str, data: str) -> None:
    recipe = load_recipe(f"{network}_{data}", finetune=True)
    values = tuple(leaves(recipe)[key] for key in PLAIN)
    cnn, swin = ("sgd", 0.01, 1.0, 1e-3), ("adamw", 5e-4, 1.0, 1e-4)
    rest = ("step", 100, 0.5, 500, 32, None, "ce", None, 0)
    assert values == ((swin if network.startswith("swin") else cnn) + rest)
    assert recipe.optim.momentum == 0.9 and recipe.evaluation.split is None
    assert recipe.data.balanced == (data in ("opensarship", "fusar"))


@pytest.mark.parametrize(
    ("name", "train", "expected"),
    [
        ("resnet18_mstar", "train", ("test", 128, 128, 0.051745296, 0.059024353)),
        ("resnet18_mstar", "train_10", ("test", 128, 128, 0.051745296, 0.059024353)),
        ("resnet18_opensarship", "low_train", ("low_test", None, 32, 0.00307491, 0.00376823)),
        ("resnet18_opensarship", "medium_train", ("medium_test", None, 96, 0.00184448, 0.00251385)),
        ("resnet18_opensarship", "large_train", ("large_test", None, 128, 0.00258246, 0.0032765)),
        ("resnet18_fusar", "train6", ("test6", 128, 128, 0.0442077, 0.00497706)),
    ],
)
def test_constants_of_the_target_tasks(name: str, train: str, expected: tuple[object, ...]) -> None:
    recipe = load_recipe(name, [f"data.train={train}"], finetune=True)
    p = recipe.preprocess
    assert (recipe.data.test, p.crop, p.size, p.mean, p.std) == expected
    assert (p.operator, p.range) == ("none", Range(low=0, high=0, eval_value=0))
    own = load_recipe(name, [f"data.train={train}", "data.test=other", "preprocess.mean=null"])
    assert (own.data.test, own.preprocess.mean) == ("other", None)


def test_a_recipe_of_an_earlier_version_gets_what_came_later() -> None:
    now = load_recipe("resnet18_osu").model_dump(mode="json")
    earlier = {section: dict(values) for section, values in now.items()}
    del earlier["data"]["fraction"], earlier["optim"]["name"], earlier["evaluation"]["split"]
    assert from_dict(earlier) == from_dict(now)
    assert completed(earlier) == now
    assert "fraction" not in earlier["data"]


def test_steps_of_an_epoch_hold_whole_sums_of_gradients() -> None:
    with pytest.raises(ManifestError, match="epoch_steps=5 is no multiple of accumulate=2"):
        load_recipe("resnet18_ben", ["optim.accumulate=2", "optim.epoch_steps=5"])


def test_a_stored_recipe_takes_assignments_and_stays_as_it_was() -> None:
    stored = load_recipe("swin_t_osu").model_dump(mode="json")
    moved = override(stored, ["data.root=/elsewhere"])
    assert moved.data.root == Path("/elsewhere") and from_dict(stored).data.root is None
    assert moved.optim == from_dict(stored).optim


@pytest.mark.parametrize("section", [[], [1], 5, "x"])
def test_a_section_that_is_none_is_named(section: Any, tmp_path: Path) -> None:
    stored = load_recipe("swin_t_osu").model_dump(mode="json")
    with pytest.raises(ManifestError, match="the recipe does not hold"):
        override({**stored, "optim": section}, [])


def test_operators_to_draw_from_need_ranges_and_an_operator() -> None:
    recipe = load_recipe("mobilenetv3_dsn", ["augment.operators=[ptls,log_amplitude]"])
    assert recipe.augment.operators == ("ptls", "log_amplitude")
    with pytest.raises(ManifestError, match="no such name; did you mean 'ptls'"):
        load_recipe("mobilenetv3_dsn", ["augment.operators=[ptsl]"])
    with pytest.raises(ManifestError, match="needs preprocess"):
        load_recipe("mobilenetv3_dsn", ["augment.operators=[ptls]", "preprocess.operator=none"])
