"""Layers as matrices: a file for each family, `families.py` chooses among them."""
