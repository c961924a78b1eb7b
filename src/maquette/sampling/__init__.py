"""How texts are written with a trained model: drawn token by token, searched for, or held to a form.

The functions take any `model` with `begin` and `advance` (core/model.py, Streams), and tensors; nothing else of ours.
"""
