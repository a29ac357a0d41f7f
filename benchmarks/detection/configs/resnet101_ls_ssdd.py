_base_ = ["_base_/fcos_resnet101.py", "_base_/ls_ssdd.py"]
