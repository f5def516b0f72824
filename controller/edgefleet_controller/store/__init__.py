"""The store as a whole: moving it between back ends, saving it to a file and bringing it back."""
