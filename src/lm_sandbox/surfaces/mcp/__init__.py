"""MCP: sandboxes as tools and resources, for whatever model a host has. The SDK is imported on first use."""
