_base_ = "_base_/deeplabv3_spacenet6.py"
model = dict(
    backbone=dict(name="swin_t_ben", output_stride=32),
    decode_head=dict(in_channels=768),
    auxiliary_head=dict(in_channels=384),
)
