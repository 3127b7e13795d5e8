"""Data sets: the files of a split, our folder layout and the published ones, augmentation, and checks."""
