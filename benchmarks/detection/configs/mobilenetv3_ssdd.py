_base_ = ["_base_/fcos_mobilenetv3.py", "_base_/ssdd.py"]
