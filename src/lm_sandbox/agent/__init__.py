"""The tool loop: a model asks for bash, a sandbox runs it, the model answers."""
