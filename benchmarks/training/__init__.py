"""Vectors against their peers."""
