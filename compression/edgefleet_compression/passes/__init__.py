"""Passes: ``specs`` says what can be asked for (torch-free), ``application`` carries it out."""
