"""Measuring speed beside the peers, every contender in a fresh process and in the same loop."""
