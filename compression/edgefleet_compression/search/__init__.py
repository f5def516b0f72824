"""Search for recipes under constraints: fronts, hypervolume, attainment."""
