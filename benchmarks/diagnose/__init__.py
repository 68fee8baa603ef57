"""Diagnosis against its peers."""
