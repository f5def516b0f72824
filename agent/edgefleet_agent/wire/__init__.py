"""What the agent and the controller say to each other: schemas, reason codes, raw-sample blobs, the host lock.

The server side may import this package and ``edgefleet_agent.statistics``, and nothing else of the agent.
"""
