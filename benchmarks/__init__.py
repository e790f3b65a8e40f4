"""Side-by-side measurements; each module is one table."""
