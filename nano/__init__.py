"""Makes and measures `nano`, the demo model that ships with lm-sandbox."""
