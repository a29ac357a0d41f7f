_base_ = "fcos.py"
model = dict(backbone=dict(name="swin_t_ben"), neck=dict(in_channels=[96, 192, 384, 768]))
