"""Requests for what another process of this server has: handed to it as they are, and its answer back."""
