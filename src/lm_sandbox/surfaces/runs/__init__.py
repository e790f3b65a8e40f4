"""Runs as they are kept, whichever surface they came by: in the shape of OpenAI's responses."""
