_base_ = "_base_/deeplabv3_spacenet6.py"
model = dict(
    backbone=dict(name="resnet101_ben"),
    decode_head=dict(in_channels=2048),
    auxiliary_head=dict(in_channels=1024),
)
