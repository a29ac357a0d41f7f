_base_ = "_base_/deeplabv3_spacenet6.py"
model = dict(
    backbone=dict(name="densenet121_ben"),
    decode_head=dict(in_channels=1024),
    auxiliary_head=dict(in_channels=1024),
)
