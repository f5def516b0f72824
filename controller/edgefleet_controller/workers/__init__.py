"""Worker processes as the store knows them: who is alive, who leads, and what becomes of a dead one's work."""
