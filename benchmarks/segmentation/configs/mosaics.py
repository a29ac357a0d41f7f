# DeepLabv3 on composed mosaics (benchmarks.composed.mosaics).
_base_ = "_base_/small.py"
model = dict(
    # Gray levels are the logarithm of amplitude already: mean and std of mobilenetv3_dsn's preprocessing, times 255.
    data_preprocessor=dict(size=(256, 256), mean=[89.57788387614463] * 3, std=[24.651921060840622] * 3),
    backbone=dict(pretrained=False),
    decode_head=dict(num_classes=8),
)


def loader(split: str, batch_size: int = 1) -> dict:
    """Return the loader of a split."""
    classes = {
        "agriculture": [240, 228, 66],
        "container": [213, 94, 0],
        "forest": [0, 158, 115],
        "industrialbuilding": [204, 121, 167],
        "residential": [230, 159, 0],
        "skyscraper": [0, 0, 0],
        "storagetank": [160, 160, 160],
        "water": [86, 180, 233],
    }
    flip = dict(type="RandomFlip", prob=[0.35, 0.35], direction=["horizontal", "vertical"])
    read = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations")]
    return dict(
        batch_size=batch_size,
        num_workers=0,
        sampler=dict(type="DefaultSampler", shuffle=split == "train"),
        dataset=dict(
            type="BaseSegDataset",
            data_prefix=dict(img_path=f"img_dir/{split}", seg_map_path=f"ann_dir/{split}"),
            metainfo=dict(classes=tuple(classes), palette=list(classes.values())),
            img_suffix=".png",
            seg_map_suffix=".png",
            pipeline=[*read, *([flip] if split == "train" else []), dict(type="PackSegInputs")],
        ),
    )


train_dataloader = loader("train", 4)
val_dataloader = loader("val")
test_dataloader = loader("test")
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=20, val_interval=1)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=80),
    dict(type="CosineAnnealingLR", T_max=20, eta_min_ratio=0.02, by_epoch=True, convert_to_iter_based=True),
]
# The epoch that is best on the validation mosaics is tested; five epochs without a gain end the training.
custom_hooks = [dict(type="EarlyStoppingHook", monitor="mIoU", rule="greater", patience=5, min_delta=0.1)]
default_hooks = dict(
    checkpoint=dict(type="CheckpointHook", interval=1, max_keep_ckpts=2, save_best="mIoU", rule="greater"),
)
