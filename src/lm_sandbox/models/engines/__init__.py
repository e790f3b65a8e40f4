"""What serves models; one engine a module, loaded on use."""
