"""Each method against its best peers, both sides in one run; see ``python -m benchmarks -h``."""
