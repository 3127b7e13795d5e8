"""Folder layouts of data sets: which file belongs to which."""
