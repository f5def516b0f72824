"""The model zoo in plain torch. ``specs`` (torch-free) has the arguments, ``registry`` builds the modules."""
