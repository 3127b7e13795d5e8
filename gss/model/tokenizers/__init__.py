"""Maskige tokenizers: a picture in class colours to a grid of tokens and back."""
