"""Palettes: the search for colours far apart, palette files, pictures of palettes."""
