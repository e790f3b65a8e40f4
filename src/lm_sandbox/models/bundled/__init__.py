"""The demo model that ships with lm-sandbox, as package data."""
