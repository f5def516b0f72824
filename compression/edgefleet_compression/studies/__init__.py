"""The seven studies: declarations, carrying out, analysis, reports. Torch-free but for what executors load."""
