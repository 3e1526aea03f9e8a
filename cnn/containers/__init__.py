"""Modules that hold modules: layers in a row, layers side by side."""
