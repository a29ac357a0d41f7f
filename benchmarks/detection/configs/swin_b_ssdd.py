_base_ = ["_base_/fcos_swin_b.py", "_base_/ssdd.py"]
