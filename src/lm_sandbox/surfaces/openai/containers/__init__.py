"""/v1/containers: OpenAI's containers, each of which is a sandbox of the same id."""
