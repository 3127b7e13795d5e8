"""Files: whole or not there; images, label maps and pictures of them, one reader each."""
