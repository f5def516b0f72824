"""Search for recipes under constraints: spaces, proposals, fronts, hypervolume, attainment."""
