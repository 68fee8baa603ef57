"""Benchmarks of kexue.optim."""
