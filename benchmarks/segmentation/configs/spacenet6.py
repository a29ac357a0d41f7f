# SpaceNet 6: buildings in tiles of 900 pixels, as `python -m benchmarks.segmentation.prepare` writes them.
_base_ = ["_base_/deeplabv3.py", "_base_/schedule_20k.py"]


def loader(split: str, steps: list, batch_size: int, sampler: str) -> dict:
    """Return the loader of a split; images are prepared for the model."""
    return dict(
        batch_size=batch_size,
        num_workers=4,
        persistent_workers=True,
        sampler=dict(type=sampler, shuffle=split == "train"),
        dataset=dict(
            type="BaseSegDataset",
            data_prefix=dict(img_path=f"img_dir/{split}", seg_map_path=f"ann_dir/{split}"),
            metainfo=dict(classes=("background", "building"), palette=[[0, 0, 0], [230, 159, 0]]),
            img_suffix=".png",
            seg_map_suffix=".png",
            pipeline=[dict(type="LoadImageFromFile", color_type="grayscale"), *steps, dict(type="PackSegInputs")],
        ),
    )


train_dataloader = loader(
    "train",
    [
        dict(type="LoadAnnotations"),
        dict(type="SARHubPreprocess", training=True),
        dict(type="RandomResize", scale=(900, 900), ratio_range=(0.5, 2.0), keep_ratio=True),
        dict(type="RandomCrop", crop_size=(512, 512), cat_max_ratio=0.75),
        dict(type="RandomFlip", prob=0.5),
    ],
    2,
    "InfiniteSampler",
)
test_dataloader = loader("test", [dict(type="SARHubPreprocess"), dict(type="LoadAnnotations")], 1, "DefaultSampler")
val_dataloader = test_dataloader
val_evaluator = dict(type="ClassIoUMetric")
test_evaluator = val_evaluator
