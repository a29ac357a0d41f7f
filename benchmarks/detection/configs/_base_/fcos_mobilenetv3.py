_base_ = "fcos.py"
model = dict(backbone=dict(name="mobilenetv3_ben"), neck=dict(in_channels=[16, 24, 48, 576]))
