"""The Anthropic-compatible surface: the Messages API, as described at docs.claude.com."""
