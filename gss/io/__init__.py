"""Files that are complete or not there; images, label maps and pictures of them, with one reader each."""
