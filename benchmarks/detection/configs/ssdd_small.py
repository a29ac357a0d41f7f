# SSDD on a CPU: the small detector, trained on cuts of 256 pixels and tested on whole images, both at their own scale.
# The last epoch is tested: SSDD has no validation split.
_base_ = "_base_/small.py"


def loader(split: str, steps: list, batch_size: int = 1, **options: object) -> dict:
    """Return the loader of a split; images are prepared for the model."""
    return dict(
        batch_size=batch_size,
        num_workers=0,
        sampler=dict(type="DefaultSampler", shuffle=split == "train"),
        dataset=dict(
            type="CocoDataset",
            ann_file=f"annotations/{split}.json",
            data_prefix=dict(img="images/"),
            metainfo=dict(classes=("ship",), palette=[(230, 159, 0)]),
            pipeline=[dict(type="LoadImageFromFile", color_type="grayscale"), *steps],
            **options,
        ),
    )


boxes = dict(type="LoadAnnotations", with_bbox=True)
flip = dict(type="RandomFlip", prob=[0.35, 0.35], direction=["horizontal", "vertical"])
same = dict(type="Resize", scale_factor=1.0)  # the head wants to be told that the size stays
packed = dict(type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"))
cut = dict(type="RandomCrop", crop_size=(256, 256), allow_negative_crop=True)
train_dataloader = loader(
    "train", [boxes, dict(type="SARHubPreprocess", training=True), cut, flip, dict(type="PackDetInputs")], 4
)
test_dataloader = loader("test", [dict(type="SARHubPreprocess"), same, boxes, packed], test_mode=True)
test_evaluator = dict(type="CocoMetric", metric="bbox")
val_dataloader, val_evaluator = test_dataloader, test_evaluator
del boxes, cut, flip, same, packed
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=16, val_interval=16)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=80),
    dict(type="CosineAnnealingLR", T_max=16, eta_min_ratio=0.02, by_epoch=True, convert_to_iter_based=True),
]
default_hooks = dict(checkpoint=dict(type="CheckpointHook", interval=1, max_keep_ckpts=2))
