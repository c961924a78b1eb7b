"""Mutates each file of small real runs, and of data sets, and looks at what every verb makes of it.

make fuzz TRIES=300          what CI runs in short (tests/fuzz/test_fuzz.py)
python -m fuzz --help        in tests/: one run, file or verb; one try again
"""
