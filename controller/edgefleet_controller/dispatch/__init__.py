"""Who may take which run: what this process knows by heart of devices, of waiting work and of leases.

Nothing here decides who holds a run; the store does (``runs.leasing``). Memory only answers "nothing to do" and "still
yours" without asking the store, and may be lost, or lag behind another process by a second, without harm.
"""
