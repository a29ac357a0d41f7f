# A detection data set as `python -m benchmarks.detection.prepare` writes it: annotations in the format of COCO, and
# `images`, which leads to the folder of the data set itself. What is based on it names the folder. Images that are 800
# pixels high and wide keep their size. The preprocessing depends on the pre-training data alone, so one name stands for
# all networks.
prepared = "resnet50_ben"
load = dict(type="LoadImageFromFile", color_type="grayscale")
data = dict(
    type="CocoDataset",
    data_prefix=dict(img="images/"),
    metainfo=dict(classes=("ship",), palette=[(230, 159, 0)]),
)
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    batch_sampler=dict(type="AspectRatioBatchSampler"),
    dataset=dict(
        ann_file="annotations/train.json",
        filter_cfg=dict(filter_empty_gt=False),  # images without a ship are part of the data sets
        pipeline=[
            load,
            dict(type="LoadAnnotations", with_bbox=True),
            dict(type="SARHubPreprocess", name=prepared, training=True),
            dict(type="Resize", scale=(1333, 800), keep_ratio=True),
            dict(type="RandomFlip", prob=0.5),
            dict(type="PackDetInputs"),
        ],
        **data,
    ),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        ann_file="annotations/test.json",
        test_mode=True,
        pipeline=[
            load,
            dict(type="SARHubPreprocess", name=prepared),
            dict(type="Resize", scale=(1333, 800), keep_ratio=True),
            dict(type="LoadAnnotations", with_bbox=True),
            dict(type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")),
        ],
        **data,
    ),
)
test_evaluator = dict(type="CocoMetric", metric="bbox")
val_dataloader, val_evaluator = test_dataloader, test_evaluator
