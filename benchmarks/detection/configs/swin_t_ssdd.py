_base_ = ["_base_/fcos_swin_t.py", "_base_/ssdd.py"]
