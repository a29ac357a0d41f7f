_base_ = ["_base_/fcos_senet50.py", "_base_/ls_ssdd.py"]
