_base_ = "_base_/mosaics.py"
model = dict(backbone=dict(name="resnet18_ben"), decode_head=dict(in_channels=512))
