"""Durable execution of jobs: the only package that knows DBOS.

``protocol`` says what the API and the workflows may ask for, ``dbos_engine`` and ``worker`` do it with DBOS,
``in_memory`` does it for tests, ``child_process`` runs one compress or compile step in a process of its own.
"""
