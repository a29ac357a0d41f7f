"""Small valid files, changed at random: each is read rightly or refused by one clear error, and in little memory.

``tests/fuzz/test_fuzz.py`` tries a fixed number of them; ``python -m tests.fuzz --minutes 120`` tries as many as fit.
"""
