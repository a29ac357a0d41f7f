_base_ = "_base_/scenes.py"
model = dict(backbone=dict(name="mobilenetv3_dsn"), neck=dict(in_channels=[16, 24, 48, 576]))
