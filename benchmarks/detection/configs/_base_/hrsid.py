# HRSID: images of 800 by 800 pixels.
_base_ = ["coco.py", "schedule_36e.py"]
data_root = "data/hrsid"
loader = dict(dataset=dict(data_root=data_root))
evaluator = dict(ann_file=f"{data_root}/annotations/test.json")
train_dataloader, val_dataloader, test_dataloader = loader, loader, loader
val_evaluator, test_evaluator = evaluator, evaluator
