"""Networks: GSS, its per-pixel twin, their parts, and how they look at an image."""
