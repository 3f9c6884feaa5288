"""Benchmarks: what is measured (`work`), against whom (`peers`), and how (`measure`)."""
