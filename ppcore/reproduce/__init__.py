"""Reproducing a paper: fidelity checks, trainings, what is measured on them, and the report."""
