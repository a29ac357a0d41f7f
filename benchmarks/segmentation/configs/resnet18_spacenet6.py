_base_ = "_base_/deeplabv3_spacenet6.py"
model = dict(
    backbone=dict(name="resnet18_ben"),
    decode_head=dict(in_channels=512),
    auxiliary_head=dict(in_channels=256),
)
