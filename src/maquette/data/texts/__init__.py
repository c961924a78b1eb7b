"""Texts: from files and tables to columns of tokens, trained tokenizers and splits."""
