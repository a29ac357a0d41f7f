# SSDD: 928 images to train on and 232 to test on, of about 500 by 350 pixels, which are enlarged.
_base_ = ["coco.py", "schedule_36e.py"]
data_root = "data/ssdd"
loader = dict(dataset=dict(data_root=data_root))
evaluator = dict(ann_file=f"{data_root}/annotations/test.json")
train_dataloader, val_dataloader, test_dataloader = loader, loader, loader
val_evaluator, test_evaluator = evaluator, evaluator
