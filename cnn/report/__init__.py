"""Plots, for example of a training run. Importing this package does not import matplotlib; `plots.py` does."""
