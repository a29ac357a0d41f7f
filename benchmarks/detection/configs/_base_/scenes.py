# FCOS on composed scenes (benchmarks.composed.scenes), small enough for a CPU: maps of stride 4 to 32, because many
# ships are less than 8 pixels wide, and two convolutions of 64 channels in neck and head.
_base_ = "fcos.py"
default_scope = "mmdet"
custom_imports = dict(imports=["sarhub_models.integrations.mm", "benchmarks.mm.autocast"])
channels = 64
strides = (4, 8, 16, 32)
model = dict(
    # Grey levels are the logarithm of amplitude already: mean and std of mobilenetv3_dsn's preprocessing, times 255.
    data_preprocessor=dict(mean=[89.57788387614463] * 3, std=[24.651921060840622] * 3),
    backbone=dict(pretrained=False, frozen_stages=-1, norm_eval=False, norm_requires_grad=True),
    neck=dict(start_level=0, out_channels=channels, num_outs=len(strides), add_extra_convs=False),
    bbox_head=dict(
        in_channels=channels,
        feat_channels=channels,
        stacked_convs=2,
        strides=strides,
        regress_ranges=((-1, 32), (32, 64), (64, 128), (128, 1e8)),
    ),
)
data_root = "data/scenes/"
data = dict(type="CocoDataset", data_root=data_root, metainfo=dict(classes=("ship",), palette=[(230, 159, 0)]))
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        ann_file="annotations/train.json",
        data_prefix=dict(img="train/"),
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations", with_bbox=True),
            dict(type="RandomFlip", prob=[0.35, 0.35], direction=["horizontal", "vertical"]),
            dict(type="PackDetInputs"),
        ],
        **data,
    ),
)
evaluated = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale_factor=1.0),  # the head wants to be told that the size stays
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")),
]
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        ann_file="annotations/val.json",
        data_prefix=dict(img="val/"),
        test_mode=True,
        pipeline=evaluated,
        **data,
    ),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        ann_file="annotations/test.json",
        data_prefix=dict(img="test/"),
        test_mode=True,
        pipeline=evaluated,
        **data,
    ),
)
val_evaluator = dict(type="CocoMetric", metric="bbox", ann_file=data_root + "annotations/val.json")
test_evaluator = dict(type="CocoMetric", metric="bbox", ann_file=data_root + "annotations/test.json")
max_epochs = 16
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
optim_wrapper = dict(
    type="AutocastOptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-3, weight_decay=1e-4),
    clip_grad=dict(max_norm=35, norm_type=2),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=80),
    dict(type="CosineAnnealingLR", T_max=max_epochs, eta_min_ratio=0.02, by_epoch=True, convert_to_iter_based=True),
]
# The epoch that is best on the validation scenes is tested; five epochs without a gain end the training.
stopping = dict(monitor="coco/bbox_mAP_50", rule="greater", patience=5, min_delta=0.001)
custom_hooks = [dict(type="EarlyStoppingHook", **stopping)]
default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=10),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="CheckpointHook", interval=1, max_keep_ckpts=2, save_best="coco/bbox_mAP_50", rule="greater"),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    visualization=dict(type="DetVisualizationHook"),
)
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
    dist_cfg=dict(backend="nccl"),
)
vis_backends = [dict(type="LocalVisBackend")]
visualizer = dict(type="DetLocalVisualizer", vis_backends=vis_backends, name="visualizer")
log_processor = dict(type="LogProcessor", window_size=10, by_epoch=True)
log_level = "INFO"
load_from = None
resume = False
