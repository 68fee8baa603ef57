"""Losses and rules for rare classes against their peers."""
