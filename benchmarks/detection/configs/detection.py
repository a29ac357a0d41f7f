# Every data set of ships as `python -m benchmarks.detection.prepare` writes it: annotations in the format of COCO, and
# `images`, which leads to the folder of the data set itself. Images that are 800 pixels high and wide keep their size.
_base_ = ["_base_/fcos.py", "_base_/schedule_36e.py"]


def loader(split: str, steps: list, batch_size: int, **options: object) -> dict:
    """Return the loader of a split; images are prepared for the model."""
    load = dict(type="LoadImageFromFile", color_type="grayscale")
    return dict(
        batch_size=batch_size,
        num_workers=4,
        persistent_workers=True,
        sampler=dict(type="DefaultSampler", shuffle=split == "train"),
        dataset=dict(
            type="CocoDataset",
            ann_file=f"annotations/{split}.json",
            data_prefix=dict(img="images/"),
            metainfo=dict(classes=("ship",), palette=[(230, 159, 0)]),
            pipeline=[load, *steps],
            **options,
        ),
    )


resize = dict(type="Resize", scale=(1333, 800), keep_ratio=True)
boxes = dict(type="LoadAnnotations", with_bbox=True)
train_dataloader = loader(
    "train",
    [
        boxes,
        dict(type="SARHubPreprocess", training=True),
        resize,
        dict(type="RandomFlip", prob=0.5),
        dict(type="PackDetInputs"),
    ],
    batch_size=4,
    filter_cfg=dict(filter_empty_gt=False),  # images without a ship are part of the data sets
)
train_dataloader["batch_sampler"] = dict(type="AspectRatioBatchSampler")
test_dataloader = loader(
    "test",
    [
        dict(type="SARHubPreprocess"),
        resize,
        boxes,
        dict(type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")),
    ],
    batch_size=1,
    test_mode=True,
)
test_evaluator = dict(type="CocoMetric", metric="bbox")
val_dataloader, val_evaluator = test_dataloader, test_evaluator
del resize, boxes
