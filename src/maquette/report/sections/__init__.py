"""Sections that every report may have. Each file here is found by listing this folder, and holds whole sections:

SECTIONS         of the whole run
COLUMN_SECTIONS  of one target column (`run.column`), made for each of them
"""
