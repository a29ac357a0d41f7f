_base_ = "fcos.py"
model = dict(backbone=dict(name="swin_b_ben"), neck=dict(in_channels=[128, 256, 512, 1024]))
