"""The contestants of others, each as its own documentation has it, in a module of its own.

Each gives batches as `work.Batches` has them, and is imported where it runs.
"""
