"""The sample company of `make demo`, and the processes that serve it."""
