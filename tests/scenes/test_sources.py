"""Scenes in object stores and STAC collections: the same results as of files here, and one error each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest

from sarhub_models.cli import main
from sarhub_models.errors import ImageError, OfflineError, OptionError
from sarhub_models.scenes.embed import embed_scenes
from sarhub_models.scenes.plan import Window
from sarhub_models.scenes.products import find_scenes, open_scene
from sarhub_models.scenes.session import Reading, Running, open_session
from sarhub_models.scenes.session import Windows as Cut

from .ranges import Store
from .test_products import write_tif

MODEL = "mobilenetv3_dsn"
SIDE = 128
OPTIONS: dict[str, Any] = {
    "weights": MODEL,
    "reading": Reading(full_scale=65535),
    "running": Running(quicklook=False, progress=False),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("store")
    rng = np.random.default_rng(0)
    for name in ("a/vv.tif", "a/vh.tif", "b/vv.tif", "b/vh.tif", "a/preview.tif"):
        (found / name).parent.mkdir(exist_ok=True)
        array = rng.integers(1, 60000, (2 * SIDE, 3 * SIDE), dtype=np.uint16)
        write_tif(found / name, array, driver="COG", blocksize=128)
    return found


@pytest.fixture
def store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("SARHUB_OFFLINE", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with Store(folder) as server:
        yield server


def item(name: str, root: str, **links: str) -> dict[str, Any]:
    """An item as catalogs have it: two polarizations, a picture, and calibration."""
    cog = "image/tiff; application=geotiff; profile=cloud-optimized"
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": f"S1_{name}",
        "geometry": None,
        "properties": {"datetime": "2021-06-01T00:00:00Z"},
        "links": [{"rel": rel, "href": href} for rel, href in links.items()],
        "assets": {
            "thumbnail": {"href": f"{root}{name}/preview.tif", "type": cog, "roles": ["thumbnail"]},
            "vh": {"href": f"{root}{name}/vh.tif", "type": cog, "roles": ["data"]},
            "vv": {"href": f"{root}{name}/vv.tif", "type": cog, "roles": ["data"]},
            "schema": {"href": f"{root}{name}/vv.xml", "type": "application/xml", "roles": ["metadata"]},
        },
    }


def collection(file: Path, *items: dict[str, Any]) -> Path:
    file.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    return file


def test_windows_of_an_address_are_those_of_the_file(store: Store, folder: Path) -> None:
    window = Window(100, 200, 60, 60)
    with open_scene(f"{store.url}/a/vv.tif?token=secret") as scene, open_scene(folder / "a/vv.tif") as here:
        np.testing.assert_array_equal(scene.read(window)[0], here.read(window)[0])
        assert (scene.bands, scene.georeference, scene.name) == (("VV",), here.georeference, "vv.tif")
        assert "secret" not in str(scene.path) + str(scene.stamp())
    asked = {path.partition("?")[0] for path, _, _ in store.log}
    assert asked == {"/a/vv.tif"}  # and nothing beside it
    assert {status for _, status, count in store.log if count} == {206}


def test_a_store_of_buckets_is_read_by_the_settings_of_gdal(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {
        "AWS_S3_ENDPOINT": store.url.removeprefix("http://"),
        "AWS_HTTPS": "NO",
        "AWS_VIRTUAL_HOSTING": "FALSE",
        "AWS_NO_SIGN_REQUEST": "YES",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with open_scene("s3://a/vv.tif") as scene, open_scene("/vsis3/a/vv.tif") as same:
        assert scene.shape == same.shape == (2 * SIDE, 3 * SIDE)
        assert (str(scene.path), str(same.path)) == ("s3://a/vv.tif", "/vsis3/a/vv.tif")


@pytest.mark.slow
def test_features_of_a_collection_are_those_of_its_files(store: Store, folder: Path, tmp_path: Path) -> None:
    file = collection(tmp_path / "items.json", item("a", f"{store.url}/"), item("b", "./", self=f"{store.url}/i.json"))
    options = {**OPTIONS, "reading": Reading(full_scale=65535, band="VH")}
    found = embed_scenes(file, out=tmp_path / "there.parquet", **options)
    assert (found.scenes, found.windows) == (2, 12)
    table = geopandas.read_parquet(tmp_path / "there.parquet")
    assert table.scene.value_counts().to_dict() == {"S1_a": 6, "S1_b": 6}
    embed_scenes([folder / "a/vh.tif", folder / "b/vh.tif"], out=tmp_path / "here.parquet", **OPTIONS)
    same = geopandas.read_parquet(tmp_path / "here.parquet")
    assert table.drop(columns="scene").equals(same.drop(columns="scene"))


def test_polarizations_of_an_item_come_in_the_order_of_the_network(store: Store, folder: Path, tmp_path: Path) -> None:
    [place] = find_scenes(collection(tmp_path / "items.json", item("a", f"{store.url}/")))
    with open_scene(place, wanted=("VV", "VH")) as scene, open_scene(folder / "a/vv.tif") as first:
        pixels = scene.read(Window(0, 0, 10, 10))[0]
        assert (scene.bands, pixels.shape) == (("VV", "VH"), (2, 10, 10))
        np.testing.assert_array_equal(pixels[:1], first.read(Window(0, 0, 10, 10))[0])
    with pytest.raises(
        ImageError, match=r"S1_a: expected the bands HH; it holds 2|S1_a: holds 2 bands and calls them VH"
    ):
        open_scene(place, wanted=("HH",))


def test_the_only_asset_of_an_item_keeps_its_polarization(folder: Path, tmp_path: Path) -> None:
    alone = item("b", "store/")
    del alone["assets"]["vh"]
    alone["assets"]["vv"]["href"] = "unnamed.tif"
    (tmp_path / "unnamed.tif").symlink_to(folder / "b/vv.tif")
    (tmp_path / "store").symlink_to(folder)
    both, one = find_scenes(collection(tmp_path / "items.json", item("a", "store/"), alone))
    with open_scene(both, wanted=("VH",)) as scene:
        assert scene.bands == ("VH",)
    with pytest.raises(ImageError, match="S1_b: expected the band VH, it holds VV alone; band=1 takes it as it is"):
        open_scene(one, wanted=("VH",))
    for options in ({}, {"wanted": ("VV",)}, {"wanted": ("VH",), "band": 1}, {"band": "vv"}):
        with open_scene(one, **options) as scene:
            assert scene.bands == ("VV",)


def test_items_of_files_here_and_lists_of_addresses(store: Store, folder: Path, tmp_path: Path) -> None:
    relative = json.dumps(item("a", "store/"))
    (tmp_path / "item.json").write_text(relative)
    (tmp_path / "store").symlink_to(folder)
    [place] = find_scenes(tmp_path / "item.json")
    with open_scene(place, wanted=("VH",)) as scene:
        assert scene.files == [tmp_path / "store/a/vh.tif"]
    (tmp_path / "list.txt").write_text(f"# two\n{store.url}/a/vv.tif\nstore/b/vv.tif\n")
    assert [str(place) for place in find_scenes(tmp_path / "list.txt")] == [
        f"{store.url}/a/vv.tif",
        str(tmp_path / "store/b/vv.tif"),
    ]


def test_links_in_a_circle_are_no_further_scenes(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    file = write_tif(tmp_path / "sub" / "a.tif", np.ones((8, 8), np.float32))
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    (tmp_path / "twice").symlink_to(tmp_path / "sub")
    assert find_scenes(tmp_path) == [file]


def test_lists_of_windows_editors(folder: Path, tmp_path: Path) -> None:
    """They put a mark before the text, or write another encoding than UTF-8."""
    (tmp_path / "größe").symlink_to(folder)
    text = "größe/a/vv.tif\n"
    (tmp_path / "list.txt").write_text(text, encoding="utf-8-sig")
    assert find_scenes(tmp_path / "list.txt") == [tmp_path / "größe/a/vv.tif"]
    (tmp_path / "list.txt").write_text(text, encoding="latin-1")
    with pytest.raises(ImageError, match=r"list\.txt: expected a list of scenes in UTF-8"):
        find_scenes(tmp_path / "list.txt")


@pytest.mark.slow
def test_the_command_takes_an_address(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "--out",
        str(tmp_path / "m.tif"),
        "--full-scale",
        "65535",
        "--overlap",
        "0",
        "--no-quicklook",
        "--json",
    ]
    assert main(["predict", MODEL, f"{store.url}/a/vv.tif", *arguments]) == 0
    assert json.loads(capsys.readouterr().out)["windows"] == 6


def test_a_store_that_fails_in_the_middle_is_one_error_and_what_was_done_is_kept(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sarhub_models.io.geotiff._PATIENT", {"GDAL_HTTP_MAX_RETRY": "0"})
    monkeypatch.setattr("sarhub_models.scenes.session.check_radiometry", lambda *_: setattr(store, "broken", True))
    address = f"{store.url}/b/vv.tif"
    with pytest.raises(ImageError, match=rf"{re.escape(address)}: the window of .* cannot be read"):
        embed_scenes(address, out=tmp_path / "e.parquet", **OPTIONS)
    assert [file.name for file in tmp_path.iterdir()] == ["e.parquet.partial"]


@pytest.mark.slow
def test_a_changed_scene_in_a_store_is_not_resumed(store: Store, folder: Path, tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(1, 60000, (SIDE, SIDE), dtype=np.uint16)
    options = {"kind": "features", "windows": Cut(), "out": tmp_path / "e.parquet", **OPTIONS}
    for name, token in (("c", "one"), ("c", "two")):
        write_tif(folder / "c.tif", array)
        open_session(f"{store.url}/{name}.tif?token={token}", **options)
    array[-1] = 7
    write_tif(folder / "c.tif", array, compress="deflate")
    with pytest.raises(OptionError, match=r"other arguments \(scenes\)"):
        open_session(f"{store.url}/c.tif?token=three", **options)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("/none.tif", r"none\.tif: cannot be reached, or is no GeoTIFF"),
        ("/product.zip", r"expected an address that ends in \.tif or \.tiff"),
    ],
)
def test_addresses_without_a_scene_are_refused(store: Store, address: str, said: str) -> None:
    with pytest.raises(ImageError, match=said) as caught:
        open_scene(f"{store.url}{address}?token=secret")
    assert "secret" not in str(caught.value)


def test_the_network_is_not_used_where_it_is_forbidden(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SARHUB_OFFLINE", "1")
    with pytest.raises(OfflineError, match="SARHUB_OFFLINE forbids"):
        open_scene(f"{store.url}/a/vv.tif")
    assert not store.log


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "expected a JSON object"),
        ('{"type": "FeatureCollection", "features": []}', "expected a STAC item or item collection, found none"),
        ('{"type": "Feature", "id": "x"}', "holds what is no STAC item"),
        ('{"type": "Feature", "id": "x", "assets": {"a": {"href": "a.xml"}}}', r"of the item x, .*\(a\), found none"),
        (
            '{"type": "Feature", "id": "x", "assets": {"one": {"href": "one.tif"}, "two": {"href": "two.tif"}}}',
            "one for each polarization, among its assets",
        ),
    ],
)
def test_what_is_no_collection_of_scenes_is_refused(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "items.json").write_text(content)
    with pytest.raises(ImageError, match=rf"items\.json.*{said}"):
        find_scenes(tmp_path / "items.json")
