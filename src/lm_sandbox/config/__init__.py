"""Every setting, in one frozen tree; `settings` has its root, a module each its parts."""
