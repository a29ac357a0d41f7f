_base_ = ["_base_/fcos_densenet121.py", "_base_/ssdd.py"]
