_base_ = ["_base_/fcos_resnet50.py", "_base_/ls_ssdd.py"]
