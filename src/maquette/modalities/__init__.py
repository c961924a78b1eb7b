"""Files <-> canonical tensors, one module for each kind of column. See core/modality.py."""
