"""Language models: the seam to engines and the registry of names."""
