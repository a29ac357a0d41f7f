# DeepLabv3 (Chen et al., Rethinking atrous convolution for semantic image segmentation, 2017) on a network of this
# package.
custom_imports = dict(imports=["sarhub_models.integrations.mm", "benchmarks.segmentation.metric"])
head = dict(num_classes=2, norm_cfg=dict(type="BN"), align_corners=False)
model = dict(
    type="EncoderDecoder",
    # No mean and std: the images come prepared for the weights, and what is filled up is their mean.
    data_preprocessor=dict(type="SegDataPreProcessor", size=(512, 512), pad_val=0, seg_pad_val=255),
    backbone=dict(type="SARHubBackbone", pretrained=True, output_stride=8),
    decode_head=dict(
        type="ASPPHead",
        in_index=3,
        channels=512,
        dilations=(1, 12, 24, 36),
        dropout_ratio=0.1,
        loss_decode=dict(type="DiceLoss", use_sigmoid=False, loss_weight=1.0),
        **head,
    ),
    auxiliary_head=dict(
        type="FCNHead",
        in_index=2,
        channels=256,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        loss_decode=dict(type="DiceLoss", use_sigmoid=False, loss_weight=0.4),
        **head,
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
sync_bn = "torch"  # where several processes train; batch norm of one process is as it is
del head
