# FCOS on composed scenes (benchmarks.composed.scenes).
_base_ = "_base_/small.py"
model = dict(
    # Gray levels are the logarithm of amplitude already: mean and std of mobilenetv3_dsn's preprocessing, times 255.
    data_preprocessor=dict(mean=[89.57788387614463] * 3, std=[24.651921060840622] * 3),
    backbone=dict(pretrained=False),
)


def loader(split: str, steps: list, batch_size: int = 1, **options: object) -> dict:
    """Return the loader of a split."""
    files = dict(ann_file=f"annotations/{split}.json", data_prefix=dict(img=f"{split}/"))
    classes = dict(classes=("ship",), palette=[(230, 159, 0)])
    keys = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")
    packed = dict(type="PackDetInputs") if split == "train" else dict(type="PackDetInputs", meta_keys=keys)
    return dict(
        batch_size=batch_size,
        num_workers=0,
        sampler=dict(type="DefaultSampler", shuffle=split == "train"),
        dataset=dict(
            type="CocoDataset",
            metainfo=classes,
            **files,
            pipeline=[dict(type="LoadImageFromFile"), *steps, packed],
            **options,
        ),
    )


boxes = dict(type="LoadAnnotations", with_bbox=True)
flip = dict(type="RandomFlip", prob=[0.35, 0.35], direction=["horizontal", "vertical"])
same = dict(type="Resize", scale_factor=1.0)  # the head wants to be told that the size stays
train_dataloader = loader("train", [boxes, flip], 4)
val_dataloader = loader("val", [same, boxes], test_mode=True)
test_dataloader = loader("test", [same, boxes], test_mode=True)
val_evaluator = dict(type="CocoMetric", metric="bbox")
test_evaluator = dict(type="CocoMetric", metric="bbox")
del boxes, flip, same
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=16, val_interval=1)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=80),
    dict(type="CosineAnnealingLR", T_max=16, eta_min_ratio=0.02, by_epoch=True, convert_to_iter_based=True),
]
# The epoch that is best on the validation scenes is tested; five epochs without a gain end the training.
custom_hooks = [dict(type="EarlyStoppingHook", monitor="coco/bbox_mAP_50", rule="greater", patience=5, min_delta=0.001)]
default_hooks = dict(
    checkpoint=dict(type="CheckpointHook", interval=1, max_keep_ckpts=2, save_best="coco/bbox_mAP_50", rule="greater"),
)
