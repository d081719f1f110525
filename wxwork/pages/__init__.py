"""Pages of the WeCom link in the admin."""
