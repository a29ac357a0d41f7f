# FCOS (Tian et al., ICCV 2019) with a feature pyramid on a network of this package, for one class.
custom_imports = dict(imports=["sarhub_models.integrations.mm"])
model = dict(
    type="FCOS",
    # No mean and std: the images come prepared for the weights, and what is filled up is their mean.
    data_preprocessor=dict(type="DetDataPreprocessor", pad_size_divisor=32),
    backbone=dict(type="SARHubBackbone", pretrained=True, frozen_stages=1, norm_eval=True, norm_requires_grad=False),
    neck=dict(
        type="FPN",
        start_level=1,
        out_channels=256,
        num_outs=5,
        add_extra_convs="on_output",
        relu_before_extra_convs=True,
    ),
    bbox_head=dict(
        type="FCOSHead",
        num_classes=1,
        in_channels=256,
        feat_channels=256,
        stacked_convs=4,
        strides=(8, 16, 32, 64, 128),
        norm_on_bbox=True,
        centerness_on_reg=True,
        center_sampling=True,
        conv_bias=True,
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type="GIoULoss", loss_weight=1.0),
        loss_centerness=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=1.0),
    ),
    test_cfg=dict(
        nms_pre=1000, min_bbox_size=0, score_thr=0.05, nms=dict(type="nms", iou_threshold=0.6), max_per_img=100
    ),
)
