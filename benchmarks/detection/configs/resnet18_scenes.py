_base_ = "_base_/scenes.py"
model = dict(backbone=dict(name="resnet18_ben"), neck=dict(in_channels=[64, 128, 256, 512]))
