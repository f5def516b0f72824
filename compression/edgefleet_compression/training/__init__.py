"""The one training loop; ingredients hook into it."""
