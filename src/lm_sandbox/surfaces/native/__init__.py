"""The native REST surface under /v1/sandboxes."""
