# SSDD on a GPU: the small detector with more channels, trained and tested on whole images at their own scale.
_base_ = "ssdd_small.py"
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    batch_sampler=dict(type="AspectRatioBatchSampler"),
    dataset=dict(
        pipeline=[
            dict(type="LoadImageFromFile", color_type="grayscale"),
            dict(type="LoadAnnotations", with_bbox=True),
            dict(type="SARHubPreprocess", training=True),
            dict(type="Resize", scale_factor=1.0),
            dict(type="RandomFlip", prob=[0.35, 0.35], direction=["horizontal", "vertical"]),
            dict(type="PackDetInputs"),
        ],
    ),
)
test_dataloader = dict(num_workers=2)
val_dataloader = test_dataloader
model = dict(
    neck=dict(out_channels=128, num_outs=5),
    bbox_head=dict(
        in_channels=128,
        feat_channels=128,
        stacked_convs=3,
        strides=(4, 8, 16, 32, 64),
        regress_ranges=((-1, 32), (32, 64), (64, 128), (128, 256), (256, 1e8)),
    ),
)
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=36, val_interval=36)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=80),
    dict(type="CosineAnnealingLR", T_max=36, eta_min_ratio=0.02, by_epoch=True, convert_to_iter_based=True),
]
