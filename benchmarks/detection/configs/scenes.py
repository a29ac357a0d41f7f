# FCOS on composed scenes (benchmarks.composed.scenes), small enough for a CPU: maps of stride 4 to 32, because many
# ships are less than 8 pixels wide, and two convolutions of 64 channels in neck and head.
_base_ = ["_base_/fcos.py", "_base_/runtime.py"]
custom_imports = dict(imports=["sarhub_models.integrations.mm", "benchmarks.mm.autocast"])
model = dict(
    # Gray levels are the logarithm of amplitude already: mean and std of mobilenetv3_dsn's preprocessing, times 255.
    data_preprocessor=dict(mean=[89.57788387614463] * 3, std=[24.651921060840622] * 3),
    backbone=dict(pretrained=False, frozen_stages=-1, norm_eval=False, norm_requires_grad=True),
    neck=dict(start_level=0, out_channels=64, num_outs=4, add_extra_convs=False),
    bbox_head=dict(
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        strides=(4, 8, 16, 32),
        regress_ranges=((-1, 32), (32, 64), (64, 128), (128, 1e8)),
    ),
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
optim_wrapper = dict(
    type="AutocastOptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-3, weight_decay=1e-4),
    clip_grad=dict(max_norm=35, norm_type=2),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=80),
    dict(type="CosineAnnealingLR", T_max=16, eta_min_ratio=0.02, by_epoch=True, convert_to_iter_based=True),
]
# The epoch that is best on the validation scenes is tested; five epochs without a gain end the training.
custom_hooks = [dict(type="EarlyStoppingHook", monitor="coco/bbox_mAP_50", rule="greater", patience=5, min_delta=0.001)]
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=10),
    checkpoint=dict(type="CheckpointHook", interval=1, max_keep_ckpts=2, save_best="coco/bbox_mAP_50", rule="greater"),
)
log_processor = dict(type="LogProcessor", window_size=10, by_epoch=True)
