"""Isolated Linux environments: the seam to drivers and the one public service."""
