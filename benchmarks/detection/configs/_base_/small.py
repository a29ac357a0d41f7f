# FCOS small enough for a CPU: maps of stride 4 to 32, because many ships are less than 8 pixels wide, and two
# convolutions of 64 channels in neck and head.
_base_ = ["fcos.py", "runtime.py"]
custom_imports = dict(imports=["sarhub_models.integrations.mm", "benchmarks.mm.autocast"])
model = dict(
    backbone=dict(frozen_stages=-1, norm_eval=False, norm_requires_grad=True),
    neck=dict(start_level=0, out_channels=64, num_outs=4, add_extra_convs=False),
    bbox_head=dict(
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        strides=(4, 8, 16, 32),
        regress_ranges=((-1, 32), (32, 64), (64, 128), (128, 1e8)),
        # The head rectifies its distances: one that is negative everywhere at the start gets no gradient, ever. A bias
        # of one stride keeps them all alive.
        init_cfg=dict(
            type="Normal",
            layer="Conv2d",
            std=0.01,
            override=[
                dict(type="Normal", name="conv_cls", std=0.01, bias_prob=0.01),
                dict(type="Normal", name="conv_reg", std=0.01, bias=1.0),
            ],
        ),
    ),
)
optim_wrapper = dict(
    type="AutocastOptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-3, weight_decay=1e-4),
    clip_grad=dict(max_norm=35, norm_type=2),
)
default_hooks = dict(logger=dict(type="LoggerHook", interval=10))
log_processor = dict(type="LogProcessor", window_size=10, by_epoch=True)
