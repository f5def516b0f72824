"""Data sets: numpy arrays, split once by seed. Loads no torch."""
