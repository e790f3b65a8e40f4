"""What makes sandboxes; one driver a module, loaded on use."""
