"""Mutation testing by cosmic-ray's operators: a seeded sample of small changes, and which of them the tests notice."""
