"""Data: folders of images and index PNGs, joint transforms, checks, and procedural street scenes."""
