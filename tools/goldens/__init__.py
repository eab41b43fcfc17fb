"""Tiny random checkpoints and what transformers computes with them: the goldens of the tests."""
