# Data sets of the catalog that have no configuration of their own, as `python -m benchmarks.segmentation.prepare`
# writes them: the small DeepLabv3, trained on cuts of 128 pixels and tested on whole images. The last step is tested:
# there is no validation split.
_base_ = "_base_/small.py"
model = dict(
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(output_stride=8),  # targets are 10 to 20 pixels wide
    # Of classes of few pixels cross-entropy alone learns nothing in so few steps
    decode_head=dict(loss_decode=[dict(type="CrossEntropyLoss"), dict(type="LovaszLoss", reduction="none")]),
)


def loader(split: str, steps: list, batch_size: int = 1) -> dict:
    """Return the loader of a split; images are prepared for the model, and the data's folder names the classes."""
    return dict(
        batch_size=batch_size,
        num_workers=0,
        sampler=dict(type="InfiniteSampler" if split == "train" else "DefaultSampler", shuffle=split == "train"),
        dataset=dict(
            type="BaseSegDataset",
            data_prefix=dict(img_path=f"img_dir/{split}", seg_map_path=f"ann_dir/{split}"),
            metainfo=dict(palette=[[0, 0, 0], [230, 159, 0], [86, 180, 233], [0, 158, 115], [204, 121, 167]]),
            img_suffix=".png",
            seg_map_suffix=".png",
            pipeline=[dict(type="LoadImageFromFile", color_type="grayscale"), *steps, dict(type="PackSegInputs")],
        ),
    )


read = dict(type="LoadAnnotations")
cut = dict(type="RandomCrop", crop_size=(128, 128))
flip = dict(type="RandomFlip", prob=0.5)
train_dataloader = loader("train", [read, dict(type="SARHubPreprocess", training=True), cut, flip], 8)
test_dataloader = loader("test", [dict(type="SARHubPreprocess"), read])
val_dataloader = val_cfg = val_evaluator = None
del read, cut, flip
train_cfg = dict(type="IterBasedTrainLoop", max_iters=400)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(type="CosineAnnealingLR", T_max=400, eta_min_ratio=0.02, by_epoch=False),
]
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=10, log_metric_by_epoch=False),
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=100, max_keep_ckpts=2),
)
log_processor = dict(by_epoch=False)
