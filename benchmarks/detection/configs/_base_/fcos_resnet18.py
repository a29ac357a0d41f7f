_base_ = "fcos.py"
model = dict(backbone=dict(name="resnet18_ben"), neck=dict(in_channels=[64, 128, 256, 512]))
