"""Simulated boards: a roofline per operator, jitter, heat and a fake power sensor. Their reports say ``simulated``."""
