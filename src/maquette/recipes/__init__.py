"""The recipes that ship, a folder for each kind of data."""

DEFAULT = "image/gan"  # what is trained where nothing is named, and by the demo
