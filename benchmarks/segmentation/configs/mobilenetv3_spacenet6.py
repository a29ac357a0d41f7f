_base_ = "_base_/deeplabv3_spacenet6.py"
model = dict(
    backbone=dict(name="mobilenetv3_ben"),
    decode_head=dict(in_channels=576),
    auxiliary_head=dict(in_channels=48),
)
