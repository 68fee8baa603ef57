"""Benchmarks of `kexue.graph`."""
