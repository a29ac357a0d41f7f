# 36 epochs of four images a step, and what MMDetection notes on the way. The last epoch is tested: the data sets have
# no validation split, and choosing an epoch by the test split would flatter the result.
_base_ = "runtime.py"
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=5e-3, momentum=0.9, weight_decay=1e-3),
    paramwise_cfg=dict(bias_lr_mult=2.0, bias_decay_mult=0.0),
    clip_grad=dict(max_norm=35, norm_type=2),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1 / 3, by_epoch=False, begin=0, end=500),
    dict(type="MultiStepLR", by_epoch=True, begin=0, end=36, milestones=[24, 33], gamma=0.1),
]
auto_scale_lr = dict(enable=False, base_batch_size=4)  # tools/train.py --auto-scale-lr, on several GPUs
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=36, val_interval=6)
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=50),
    checkpoint=dict(type="CheckpointHook", interval=1, max_keep_ckpts=2),
)
log_processor = dict(type="LogProcessor", window_size=50, by_epoch=True)
