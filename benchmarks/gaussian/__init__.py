"""Benchmarks of `kexue.gaussian`."""
