"""The folders of our own data sets and of the published ones."""
