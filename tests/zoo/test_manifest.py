import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from sarhub_models import errors
from sarhub_models.zoo import manifest
from sarhub_models.zoo.entries import ModelInfo

ROOT = Path(__file__).parents[2]
MANIFEST = json.loads((ROOT / "weights_manifest.json").read_text())
NETWORKS = ["densenet121", "mobilenetv3", "resnet101", "resnet18", "resnet50", "senet50", "swin_b", "swin_t"]
FIELD_NETWORKS = [
    "alexnet",
    "convnextv2_base",
    "copernicusfm_base",
    "croma_base",
    "croma_large",
    "dofa_base",
    "dofa_large",
    "hivit_base",
    "mixmim_base",
    *(f"olmoearth_{size}" for size in ("nano", "tiny", "base", "large")),
    "panopticon_base",
    *(f"terramind_{size}_{kind}" for size in ("tiny", "small", "base", "large") for kind in ("s1grd", "s1rtc")),
    "vit_base_patch8",
    "vit_base_patch16_dinov3",
    "vit_small_patch16_dinov3",
    "swin_v2_b",
    "vit_base_patch14_dinov2",
    "vit_base_patch16",
    "vit_huge_patch14",
    "vit_large_patch16",
    "vit_small_patch14_dinov2",
    "vit_small_patch16",
]


def write(path: Path, change) -> Path:
    data = json.loads(json.dumps(MANIFEST))
    change(data)
    path.write_text(json.dumps(data))
    return path


def test_manifest_follows_its_schema():
    schema = json.loads((ROOT / "sarhub_models" / "zoo" / "weights_manifest.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(MANIFEST)


def test_schema_refuses_an_invented_hash():
    schema = json.loads((ROOT / "sarhub_models" / "zoo" / "weights_manifest.schema.json").read_text())
    broken = json.loads(json.dumps(MANIFEST))
    for algorithm, value in (("sha256", "unknown"), ("sha256", "f0e69ba2"), ("sha256-prefix", "f0e69")):
        broken["models"]["resnet18_tsx"]["checksum"] = {"algorithm": algorithm, "value": value}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema)


def test_every_network_of_every_data_set_is_listed():
    expected = {f"{network}_{data}" for network in NETWORKS for data in ("tsx", "ben", "osu")}
    assert expected <= set(manifest.list_models())
    assert {"resnet18_tsx.grsl2020", "mobilenetv3_dsn"} <= set(manifest.list_models())
    assert manifest.list_networks() == sorted([*NETWORKS, *FIELD_NETWORKS, "efficientnet_lite0"])
    assert {"tsx", "ben", "osu", "dsn", "ssl4eo", "crisislandmark", "satlas"} <= set(manifest.list_datasets())


def test_names_are_network_data_and_tag():
    for name in manifest.list_models():
        info = manifest.model_info(name)
        assert name == f"{info.network}_{info.dataset.name}" + (f".{info.tag}" if info.tag else "")


@pytest.mark.parametrize(
    ("dataset", "operator", "low", "high", "eval_value", "mean", "std", "classes"),
    [
        ("tsx", "reinhard_devlin", 3.5, 4.5, 4.0, 0.17721633016340846, 0.023696591996910408, 32),
        ("ben", "ptls", 0, 2, 1, 0.5995, 0.0005743462, 19),
        ("osu", "ptls", 0, 3, 1.5, 0.3159206957121415, 0.034312685984107194, 10),
    ],
)
def test_preprocessing_is_what_the_weights_were_trained_with(
    dataset, operator, low, high, eval_value, mean, std, classes
):
    for name in manifest.list_models(dataset=dataset):
        if "." in name:
            continue
        info = manifest.model_info(name)
        expected = manifest.Preprocessing(
            (mean,), (std,), 128, operator=operator, low=low, high=high, eval_value=eval_value
        )
        assert dataclasses.replace(info.preprocessing, source=None, vouched_by="assumed", note=None) == expected
        assert info.preprocessing.vouched_by == "authors" and "SAR-HUB" in info.preprocessing.source
        assert info.num_classes == classes


@pytest.mark.parametrize(
    ("dataset", "bands", "radiometry", "limits", "channels"),
    [
        ("ben", ("VV",), "amplitude", (0, 1), 3),
        ("tsx", ("single",), "amplitude", (0, 1), 3),
        ("ssl4eo", ("VV", "VH"), "db", None, 2),
        ("crisislandmark", ("VV", "VH"), None, None, 2),
        ("satlas", ("VH", "VV"), "dn", (0, 255), 2),
    ],
)
def test_bands_and_radiometry_are_known(dataset, bands, radiometry, limits, channels):
    for name in manifest.list_models(dataset=dataset):
        if not name.startswith("alexnet"):
            assert manifest.model_info(name).input == manifest.Input(bands, radiometry, limits, channels)


def test_statistics_of_the_public_weights():
    for name in manifest.list_models(dataset="ssl4eo"):
        info = manifest.model_info(name)
        p, peer = info.preprocessing, info.prepared("torchgeo")
        assert (p.size, p.crop, p.vouched_by) == (peer.preprocessing.size, peer.preprocessing.crop, "authors")
        for band, (mean, std) in enumerate(((-12.54847273, 5.25697717), (-20.19237134, 5.91150917))):
            assert p.clip[0][band] == p.mean[band] == pytest.approx(mean - 2 * std, abs=1e-7)
            assert p.clip[1][band] == pytest.approx(mean + 2 * std, abs=1e-7)
            assert p.std[band] == pytest.approx(4 * std, abs=1e-7)
        assert (peer.preprocessing.mean, peer.preprocessing.std) == ((-12.59, -20.26), (5.26, 5.91))
        assert peer.preprocessing.clip is None and peer.preprocessing.vouched_by == "peer"
        assert peer.statistics([1]) == ((-20.26,), (5.91,))
        with pytest.raises(errors.UnknownNameError, match="no variant 'timm'; known: torchgeo"):
            info.prepared("timm")
    for name in manifest.list_models(dataset="satlas"):
        assert manifest.model_info(name).preprocessing.clip == (0, 255)


def test_the_first_terrasar_network_is_fed_as_its_own_repository_does():
    p = manifest.model_info("resnet18_tsx.grsl2020").preprocessing
    assert (p.operator, p.eval_value, p.full_scale, p.size, p.final_crop, p.side) == (
        "log_amplitude",
        16,
        65535,
        160,
        128,
        128,
    )
    assert (p.mean, p.std) == ((0.41900104848287917,), (0.06154960038356716,))
    assert p.vouched_by == "authors" and "Alien9427/SAR_specific_models/blob/67647cbf" in p.source


@pytest.mark.slow
def test_every_statistic_says_where_it_stands_and_who_vouches_for_it():
    schema = json.loads((ROOT / "sarhub_models" / "zoo" / "weights_manifest.schema.json").read_text())
    for name in manifest.list_models():
        info = manifest.model_info(name)
        for p in (info.preprocessing, *info.variants.values()):
            assert p.vouched_by == "assumed" or p.source, name
    for change in ({"source": None}, {"source": "https://github.com/a/b/blob/main/c.py"}, {"vouched_by": "me"}):
        broken = json.loads(json.dumps(MANIFEST))
        broken["datasets"]["tsx"]["preprocessing"].update(change)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema)
    broken = json.loads(json.dumps(MANIFEST))
    del broken["datasets"]["tsx"]["preprocessing"]["source"]
    with pytest.raises(jsonschema.ValidationError, match="source"):
        jsonschema.validate(broken, schema)


def test_public_weights_are_pinned_to_a_commit_and_no_hash_is_invented():
    published = {}
    for name in manifest.list_models(sensor="Sentinel-1"):
        info = manifest.model_info(name)
        if info.dataset.name not in ("ssl4eo", "crisislandmark", "satlas") or name == "vit_small_patch16_ssl4eo.decur":
            continue
        (source,) = info.sources
        assert source["type"] == "hf" and re.fullmatch("[0-9a-f]{40}", source["revision"])
        if info.checksum is not None:
            published[name] = info.checksum.value
            assert info.checksum.algorithm == "sha256-prefix"
            assert source["filename"].endswith(f"-{info.checksum.value}.pth")
        else:
            assert not re.search("-[0-9a-f]{8}", source["filename"])
    assert len(published) == 8


def test_entries_survive_json():
    for name in ("resnet50_ben", "vit_small_patch16_ssl4eo.mae", "swin_v2_b_satlas.mi"):
        info = manifest.model_info(name)
        assert manifest.ModelInfo.from_dict(json.loads(json.dumps(info.to_dict()))) == info
    older = manifest.model_info("resnet18_tsx").to_dict()
    del older["input"], older["method"]  # as published before these were known
    assert manifest.ModelInfo.from_dict(older) == manifest.model_info("resnet18_tsx")


def test_filters_by_sensor_bands_license_and_method():
    everything = set(manifest.list_models())
    assert manifest.list_models(sensor="TerraSAR-X", network="mobilenetv3") == ["mobilenetv3_dsn", "mobilenetv3_tsx"]
    assert len(manifest.list_models(bands=("VH", "VV"))) > 19
    assert manifest.list_models(bands=("VV", "VH")) == manifest.list_models(bands=["VH", "VV"])
    assert set(manifest.list_models("*[!r]", bands="VV")) >= {n for n in everything if n.endswith(("_ben", "_osu"))}
    assert {"mobilenetv3_dsn", "resnet50_ssl4eo.decur"} <= set(manifest.list_models(license="Apache-2.0"))
    assert "mixmim_base_benv2.sarwmixmae" not in manifest.list_models(license="Apache-2.0")
    assert "resnet50_ben" in manifest.list_models(license="none")
    assert manifest.list_models(bands=("VV", "VH"), radiometry="dn") == [
        "dofa_base_fivesensors",
        "dofa_large_fivesensors",
        "swin_v2_b_satlas.mi",
        "swin_v2_b_satlas.si",
    ]
    assert manifest.list_models("*small*", method="softcon") == ["vit_small_patch14_dinov2_ssl4eo.softcon"]
    assert set(manifest.list_models(method="supervised")) >= {"swin_v2_b_satlas.si", "resnet18_tsx"}


def test_wildcards_and_filters():
    assert manifest.list_models("resnet*", dataset="ben") == ["resnet101_ben", "resnet18_ben", "resnet50_ben"]
    assert manifest.list_models("RESNET18_T*") == ["resnet18_tsx", "resnet18_tsx.grsl2020"]
    assert manifest.list_models(network="swin_t") == ["swin_t_ben", "swin_t_osu", "swin_t_tsx"]
    assert manifest.list_models("vgg*") == []


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (lambda: manifest.model_info("resnet50_bne"), "resnet50_ben"),
        (lambda: manifest.model_info("ResNet50_BEN"), "resnet50_ben"),
        (lambda: manifest.list_models(network="swin-t"), "swin_t"),
        (lambda: manifest.list_models(dataset="bem"), "ben"),
        (lambda: manifest.list_models(sensor="Sentinel"), "Sentinel-1"),
        (lambda: manifest.list_models(bands=("VV", "vh")), "VH"),
        (lambda: manifest.list_models(license="CC-BY"), "CC-BY-4.0"),
        (lambda: manifest.list_models(radiometry="amplitud"), "amplitude"),
        (lambda: manifest.list_models(method="moco-v2"), "moco"),
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
        manifest.load_manifest(path)


def test_broken_manifests_are_named(tmp_path, monkeypatch):
    with pytest.raises(errors.ManifestError, match="no_such"):
        manifest.load_manifest(tmp_path / "no_such.json")
    (tmp_path / "torn.json").write_text('{"models": ')
    with pytest.raises(errors.ManifestError, match=r"torn\.json is not JSON"):
        manifest.load_manifest(tmp_path / "torn.json")
    lacking = write(tmp_path / "lacking.json", lambda data: data["models"]["resnet18_tsx"].pop("sources"))
    monkeypatch.setenv("SARHUB_MANIFEST", str(lacking))
    with pytest.raises(errors.ManifestError, match="sources"):
        manifest.list_models()


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
        manifest.load_manifest(write(tmp_path / "m.json", change))


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_a_manifest_that_is_no_text_is_refused(tmp_path, content):
    path = tmp_path / "m.json"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(errors.ManifestError, match=r"m\.json"):
        manifest.load_manifest(path)


def test_another_manifest_takes_effect_at_once(tmp_path, monkeypatch):
    path = write(tmp_path / "m.json", lambda data: data["models"].pop("swin_b_tsx"))
    monkeypatch.setenv("SARHUB_MANIFEST", str(path))
    assert "swin_b_tsx" not in manifest.list_models()


def test_importing_the_package_loads_neither_torch_nor_timm():
    code = (
        "import sys, sarhub_models; sarhub_models.list_models(); sarhub_models.model_info('swin_b_osu');"
        "print([m for m in ('torch', 'timm', 'numpy') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("text", ["[" * 100_000, '{"schema_version":' + "9" * 5000 + "}", "[]", "5"])
def test_a_list_that_is_no_list_is_refused(tmp_path, text):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(errors.ManifestError, match=re.escape(str(tmp_path / "m.json"))):
        manifest.load_manifest(tmp_path / "m.json")


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data["datasets"]["tsx"].update(sensor=5),
        lambda data: data["models"]["resnet18_tsx"].update(input={"bands": 5}),
        lambda data: data["models"]["resnet18_tsx"].update(input={"bands": [5]}),
        lambda data: data["licenses"].update(dict.fromkeys(data["licenses"], 5)),
        lambda data: data["citations"].update(dict.fromkeys(data["citations"], None)),
    ],
)
def test_fields_of_another_type_are_named(tmp_path, change):
    with pytest.raises(errors.ManifestError, match="must be text"):
        manifest.load_manifest(write(tmp_path / "m.json", change))


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry.update(input={"bands": ["VV"], "radiometry": "decibels"}),
        lambda entry: entry.update(input={"bands": ["VV"], "range": [0]}),
        lambda entry: entry.update(input={"bands": ["VV"], "channels": [3]}),
        lambda entry: entry.update(num_classes=10**400),
        lambda entry: entry.update(params=float("nan")),
        lambda entry: entry.update(sources=["http://a.b/c"]),
        lambda entry: entry.update(training=3),
        lambda entry: entry.update(training=0),
        lambda entry: entry.update(answers=0),
        *(
            lambda entry, field=field, value=value: entry["preprocessing"].update({field: value})
            for field, value in (
                *(
                    ("mean", [None]),
                    ("std", [float("inf")]),
                    ("low", [1.0]),
                    ("low", None),
                    ("size", [128]),
                    ("size", 1.5),
                ),
                *(
                    ("clip", [1.0]),
                    ("clip", [None, 1.0]),
                    ("interpolation", []),
                    ("operator", {}),
                    ("full_scale", True),
                ),
            )
        ),
    ],
)
def test_a_description_with_values_of_another_kind_is_refused(change):
    entry = json.loads(json.dumps(manifest.model_info("mobilenetv3_dsn").to_dict()))
    ModelInfo.from_dict(entry)
    change(entry)
    with pytest.raises(errors.ManifestError):
        ModelInfo.from_dict(entry)
