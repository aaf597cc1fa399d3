"""Learners: GRPO and rejection sampling on real weights, alone or in Ray Train, and a toy."""
