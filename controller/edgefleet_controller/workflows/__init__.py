"""What a job does, step by step; the engine makes it durable."""
