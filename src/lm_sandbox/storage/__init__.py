"""The database: its engine, its tables and their migrations."""
