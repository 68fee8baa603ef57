"""Benchmarks of kexue.atlas."""
