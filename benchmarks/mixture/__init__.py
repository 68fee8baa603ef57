"""Benchmarks of `kexue.mixture`."""
