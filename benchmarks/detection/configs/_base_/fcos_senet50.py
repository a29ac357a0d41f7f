_base_ = "fcos.py"
model = dict(backbone=dict(name="senet50_ben"), neck=dict(in_channels=[256, 512, 1024, 2048]))
