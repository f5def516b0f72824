"""Compression: recipes of passes over models; candidates that deploy compiles. ``recipe``, ``presets`` and ``errors`` load no torch."""
