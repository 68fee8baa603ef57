"""Benchmarks of kexue.words."""
