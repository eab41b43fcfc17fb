"""Data sets and checkpoints, made into what mmq reads."""
