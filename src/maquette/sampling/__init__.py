"""How samples are made with a trained model: along a velocity field, or token by token (drawn, searched for, steered).

What writes tokens takes any `model` with `begin` and `advance` (core/model.py, Streams), and tensors; nothing else of
ours.
"""
