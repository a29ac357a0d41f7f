import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from sarhub_models import errors, registry

ROOT = Path(__file__).parent.parent
MANIFEST = json.loads((ROOT / "weights_manifest.json").read_text())
NETWORKS = ["densenet121", "mobilenetv3", "resnet101", "resnet18", "resnet50", "senet50", "swin_b", "swin_t"]


def write(path: Path, change) -> Path:
    data = json.loads(json.dumps(MANIFEST))
    change(data)
    path.write_text(json.dumps(data))
    return path


def test_manifest_follows_its_schema():
    schema = json.loads((ROOT / "sarhub_models" / "weights_manifest.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(MANIFEST)


def test_schema_refuses_an_invented_hash():
    schema = json.loads((ROOT / "sarhub_models" / "weights_manifest.schema.json").read_text())
    broken = json.loads(json.dumps(MANIFEST))
    broken["models"]["resnet18_tsx"]["checksum"] = {"algorithm": "sha256", "value": "unknown"}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


def test_every_network_of_every_data_set_is_listed():
    expected = {f"{network}_{data}" for network in NETWORKS for data in ("tsx", "ben", "osu")}
    assert expected <= set(registry.list_models())
    assert {"resnet18_tsx.grsl2020", "mobilenetv3_dsn"} <= set(registry.list_models())
    assert registry.list_networks() == NETWORKS
    assert {"tsx", "ben", "osu", "dsn"} == set(registry.list_datasets())


def test_names_are_network_data_and_tag():
    for name in registry.list_models():
        info = registry.model_info(name)
        assert name == f"{info.network}_{info.dataset.name}" + (f".{info.tag}" if info.tag else "")


def test_every_entry_says_what_a_user_must_know():
    for name in registry.list_models():
        info = registry.model_info(name)
        assert info.sources and info.citation and info.terms
        assert info.class_names is None or len(info.class_names) == info.num_classes
        p = info.preprocessing
        assert p.low <= p.evaluation <= p.high


@pytest.mark.parametrize(
    ("dataset", "operator", "low", "high", "evaluation", "mean", "std", "classes"),
    [
        ("tsx", "reinhard_devlin", 3.5, 4.5, 4.0, 0.17721633016340846, 0.023696591996910408, 32),
        ("ben", "ptls", 0, 2, 1, 0.5995, 0.0005743462, 19),
        ("osu", "ptls", 0, 3, 1.5, 0.3159206957121415, 0.034312685984107194, 10),
    ],
)
def test_preprocessing_is_what_the_weights_were_trained_with(
    dataset, operator, low, high, evaluation, mean, std, classes
):
    for name in registry.list_models(dataset=dataset):
        if name.endswith(".grsl2020"):
            continue
        info = registry.model_info(name)
        expected = registry.Preprocessing(operator, low, high, evaluation, mean, std, size=128)
        assert info.preprocessing == expected
        assert info.num_classes == classes


def test_wildcards_and_filters():
    assert registry.list_models("resnet*", dataset="ben") == ["resnet101_ben", "resnet18_ben", "resnet50_ben"]
    assert registry.list_models("RESNET18_T*") == ["resnet18_tsx", "resnet18_tsx.grsl2020"]
    assert registry.list_models(network="swin_t") == ["swin_t_ben", "swin_t_osu", "swin_t_tsx"]
    assert registry.list_models("vgg*") == []


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (lambda: registry.model_info("resnet50_bne"), "resnet50_ben"),
        (lambda: registry.model_info("ResNet50_BEN"), "resnet50_ben"),
        (lambda: registry.list_models(network="swin-t"), "swin_t"),
        (lambda: registry.list_models(dataset="bem"), "ben"),
    ],
)
def test_unknown_names_get_the_closest(call, hint):
    with pytest.raises(errors.UnknownNameError, match=hint) as caught:
        call()
    assert isinstance(caught.value, KeyError)
    assert not str(caught.value).startswith('"')


@pytest.mark.parametrize("name", ["../evil", "a/b", "..", "A_B", "a_b.c.d", "", "a b", "/abs", ".hidden"])
def test_a_name_cannot_climb_out_of_the_cache(tmp_path, name):
    entry = MANIFEST["models"]["resnet18_tsx"]
    path = write(tmp_path / "m.json", lambda data: data["models"].update({name: entry}))
    with pytest.raises(errors.ManifestError, match="not a model name"):
        registry.load_manifest(path)


def test_broken_manifests_are_named(tmp_path, monkeypatch):
    with pytest.raises(errors.ManifestError, match="no_such"):
        registry.load_manifest(tmp_path / "no_such.json")
    (tmp_path / "torn.json").write_text('{"models": ')
    with pytest.raises(errors.ManifestError, match=r"torn\.json is not JSON"):
        registry.load_manifest(tmp_path / "torn.json")
    lacking = write(tmp_path / "lacking.json", lambda data: data["models"]["resnet18_tsx"].pop("sources"))
    monkeypatch.setenv("SARHUB_MANIFEST", str(lacking))
    with pytest.raises(errors.ManifestError, match="sources"):
        registry.list_models()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data.pop("networks"), "networks"),
        (lambda data: data.update(schema_version=2), "schema_version 2"),
        (lambda data: data["models"]["resnet18_tsx"].update(network="resnet19"), "resnet19"),
        (lambda data: data["models"]["resnet18_tsx"].update(dataset="nwpu"), "nwpu"),
        (lambda data: data.update(models=[]), "list"),
    ],
)
def test_malformed_manifests_are_refused(tmp_path, change, reason):
    with pytest.raises(errors.ManifestError, match=reason):
        registry.load_manifest(write(tmp_path / "m.json", change))


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_a_manifest_that_is_no_text_is_refused(tmp_path, content):
    path = tmp_path / "m.json"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(errors.ManifestError, match=r"m\.json"):
        registry.load_manifest(path)


def test_another_manifest_takes_effect_at_once(tmp_path, monkeypatch):
    path = write(tmp_path / "m.json", lambda data: data["models"].pop("swin_b_tsx"))
    monkeypatch.setenv("SARHUB_MANIFEST", str(path))
    assert "swin_b_tsx" not in registry.list_models()


def test_importing_the_package_loads_neither_torch_nor_timm():
    code = (
        "import sys, sarhub_models; sarhub_models.list_models(); sarhub_models.model_info('swin_b_osu');"
        "print([m for m in ('torch', 'timm', 'numpy') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
