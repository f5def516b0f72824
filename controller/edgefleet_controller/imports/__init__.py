"""Profiles that other tools measured, put beside one's own: always of the provenance ``imported``, never among measured ones."""
