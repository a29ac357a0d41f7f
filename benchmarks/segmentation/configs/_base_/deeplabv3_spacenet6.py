_base_ = ["deeplabv3.py", "spacenet6.py", "schedule_20k.py", "runtime.py"]
