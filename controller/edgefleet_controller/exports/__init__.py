"""A job's results in the forms of other tools; each form's library is imported where it is used."""
