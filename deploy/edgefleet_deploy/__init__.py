"""Compilers: a candidate and a target become one artifact file with a manifest and a parity check."""
