"""Exact integer numerics of vectors: quantised rows, kernel, bandwidth, k-means, top-k. Nothing here knows of picks."""
