"""Annotations and lists: COCO, VOC, GeoJSON, split lists, labels, tables."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from rasterio.transform import from_origin

from sarhub_models.datasets.annotations.boxes import fit_boxes
from sarhub_models.datasets.annotations.coco import read_coco
from sarhub_models.datasets.annotations.voc import read_voc
from sarhub_models.datasets.lists import label_array, read_list
from sarhub_models.datasets.segmentation.spacenet6 import building_mask
from sarhub_models.io.tables import read_table

from .mutation import Sample
from .running import Target

_TRANSFORM = from_origin(592_000, 5_752_000, 0.5, 0.5)


def _text(*texts: str) -> tuple[Sample, ...]:
    return tuple(Sample((text.encode(),)) for text in texts)


def _coco() -> tuple[Sample, ...]:
    boxes = [[1, 2, 3, 4], [5.5, 6, 7, 8], [0, 0, 30, 20]]
    content = {
        "categories": [{"id": 1, "name": "ship", "supercategory": "ship"}],
        "images": [{"id": number, "file_name": f"{number}.jpg", "height": 20, "width": 30} for number in range(2)],
        "annotations": [
            {"id": number, "image_id": number % 2, "category_id": 1, "bbox": box, "area": 12, "iscrowd": 0}
            for number, box in enumerate(boxes)
        ],
    }
    return _text(json.dumps(content))


def _read_coco(file: Path) -> None:
    for annotation in read_coco(file):
        assert np.isfinite(annotation.boxes).all() and annotation.size is not None and min(annotation.size) > 0
        assert np.isfinite(fit_boxes(annotation.boxes, annotation.size)).all()


def _voc() -> tuple[Sample, ...]:
    box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>4.5</xmax><ymax>6</ymax></bndbox>"
    return _text(
        "<?xml version='1.0' encoding='utf-8'?><annotation><filename>1.jpg</filename>"
        "<size><width>30</width><height>20</height><depth>1</depth></size>"
        f"<object><name>ship</name><difficult>0</difficult>{box}</object><object><name>ship</name>{box}</object>"
        "</annotation>"
    )


def _read_voc(file: Path) -> None:
    annotation = read_voc(file)
    assert np.isfinite(annotation.boxes).all()
    fit_boxes(annotation.boxes, annotation.size or (20, 30))


def _geojson() -> tuple[Sample, ...]:
    ring = [[592_001, 5_751_999], [592_003, 5_751_999], [592_003, 5_751_996], [592_001, 5_751_999]]
    shapes = [{"type": "Polygon", "coordinates": [ring]}, {"type": "MultiPolygon", "coordinates": [[ring], [ring]]}]
    content = {
        "type": "FeatureCollection",
        "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32631"}},
        "features": [{"type": "Feature", "properties": {}, "geometry": shape} for shape in shapes],
    }
    return _text(json.dumps(content))


def _read_geojson(file: Path) -> None:
    mask = building_mask(file, (12, 16), _TRANSFORM, "EPSG:32631")
    assert mask.shape == (12, 16) and set(np.unique(mask)) <= {0, 1}


def _lists() -> tuple[Sample, ...]:
    return _text("a/b.npy 3\n\n c d/e_1.npy 0 \nf\t1\n", "\ufeffx_VV.npy 9,10\ny_VV.npy 18\n")


def _read_list(file: Path) -> None:
    for several, count in ((False, 4), (True, 19)):
        entries = read_list(file, count, multilabel=several)
        label_array(entries, count, multilabel=several)


def _tables() -> tuple[Sample, ...]:
    return _text('image,label,"x, y"\na.npy,ship,1\n"b ""2"".npy",sea,\n', "\ufeffa,b\r\n1,2\r\n")


def _read_table(file: Path) -> None:
    names = {tuple(row) for row in read_table(file)}
    assert len(names) <= 1


TARGETS = (
    Target("coco", ".json", _coco, _read_coco),
    Target("voc", ".xml", _voc, _read_voc),
    Target("geojson", ".geojson", _geojson, _read_geojson),
    Target("list", ".txt", _lists, _read_list),
    Target("table", ".csv", _tables, _read_table),
)
