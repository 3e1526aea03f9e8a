"""Foundations: parameters, modes of a thread, random numbers, checks, files."""
