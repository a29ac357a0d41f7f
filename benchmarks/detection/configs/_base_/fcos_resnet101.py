_base_ = "fcos.py"
model = dict(backbone=dict(name="resnet101_ben"), neck=dict(in_channels=[256, 512, 1024, 2048]))
