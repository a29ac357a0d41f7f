_base_ = ["_base_/fcos_resnet18.py", "_base_/ls_ssdd.py"]
