"""The Ollama-compatible surface, as described in the ollama repository, `docs/api.md`."""
