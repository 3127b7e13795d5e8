"""Data: our folder layout and the official ones, joint transforms, checks, and procedural street scenes."""
