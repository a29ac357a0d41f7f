# As ssdd_whole, on the splits of which no two images that share pixels are on different sides.
_base_ = "ssdd_whole.py"
train_dataloader = dict(dataset=dict(ann_file="annotations/group_train.json"))
test_dataloader = dict(dataset=dict(ann_file="annotations/group_test.json"))
val_dataloader = test_dataloader
