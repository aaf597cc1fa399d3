"""The learners: real ones on torch, hosted by Ray Train, and the surrogate's toy policy."""
