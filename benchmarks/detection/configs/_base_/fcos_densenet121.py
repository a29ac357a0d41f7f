_base_ = "fcos.py"
model = dict(backbone=dict(name="densenet121_ben"), neck=dict(in_channels=[256, 512, 1024, 1024]))
