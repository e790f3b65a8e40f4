"""The parts of the egress proxy: parsers without I/O, and what moves bytes."""
