"""Files <-> canonical tensors, a folder for each kind of column. See core/modality.py."""
