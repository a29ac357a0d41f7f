_base_ = "_base_/mosaics.py"
model = dict(backbone=dict(name="mobilenetv3_dsn"), decode_head=dict(in_channels=576))
