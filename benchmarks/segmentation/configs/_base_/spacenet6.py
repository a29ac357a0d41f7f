# SpaceNet 6: buildings in tiles of 900 pixels, as `python -m benchmarks.segmentation.prepare` writes them. The
# preprocessing depends on the pre-training data alone, so one name of a data set stands for all its networks.
data_root = "data/spacenet6"
prepared = "resnet50_ben"
data = dict(
    type="BaseSegDataset",
    data_root=data_root,
    metainfo=dict(classes=("background", "building"), palette=[[0, 0, 0], [230, 159, 0]]),
    img_suffix=".png",
    seg_map_suffix=".png",
)
load = dict(type="LoadImageFromFile", color_type="grayscale")
train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="InfiniteSampler", shuffle=True),
    dataset=dict(
        data_prefix=dict(img_path="img_dir/train", seg_map_path="ann_dir/train"),
        pipeline=[
            load,
            dict(type="LoadAnnotations"),
            dict(type="SARHubPreprocess", name=prepared, training=True),
            dict(type="RandomResize", scale=(900, 900), ratio_range=(0.5, 2.0), keep_ratio=True),
            dict(type="RandomCrop", crop_size=(512, 512), cat_max_ratio=0.75),
            dict(type="RandomFlip", prob=0.5),
            dict(type="PackSegInputs"),
        ],
        **data,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        data_prefix=dict(img_path="img_dir/test", seg_map_path="ann_dir/test"),
        pipeline=[
            load,
            dict(type="SARHubPreprocess", name=prepared),
            dict(type="LoadAnnotations"),
            dict(type="PackSegInputs"),
        ],
        **data,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="ClassIoUMetric")
test_evaluator = val_evaluator
