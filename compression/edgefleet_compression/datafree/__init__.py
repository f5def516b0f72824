"""Data-free compression: images made from what a network remembers of its training data, its BatchNorm statistics."""
