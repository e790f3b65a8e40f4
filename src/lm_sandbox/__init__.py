"""A computer for local language models: models and isolated sandboxes behind one API."""

__version__ = "0.1.0"
