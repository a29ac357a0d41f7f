# DeepLabv3 small enough for a CPU: output stride 16, a narrow head and no auxiliary one, and dilations that fit small
# maps.
_base_ = ["deeplabv3.py", "runtime.py"]
custom_imports = dict(
    imports=["sarhub_models.integrations.mm", "benchmarks.segmentation.metric", "benchmarks.mm.autocast"]
)
model = dict(
    backbone=dict(output_stride=16),
    decode_head=dict(
        channels=64,
        dilations=(1, 2, 4, 6),
        loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, _delete_=True),
    ),
    auxiliary_head=None,
)
val_evaluator = dict(type="ClassIoUMetric")
test_evaluator = val_evaluator
optim_wrapper = dict(
    type="AutocastOptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-3, weight_decay=1e-4),
    clip_grad=None,
)
default_hooks = dict(logger=dict(type="LoggerHook", interval=10))
log_processor = dict(type="LogProcessor", window_size=10, by_epoch=True)
