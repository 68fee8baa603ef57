"""Benchmarks of kexue.corpus."""
