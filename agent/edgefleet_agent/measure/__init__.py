"""Measures one artifact: the runner child, the conditions around it, and the report made of both."""
