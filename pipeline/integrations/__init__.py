"""Pruners in other people's training: transformers' Trainer, a wrapped optimizer, loops with Intel's hooks."""
