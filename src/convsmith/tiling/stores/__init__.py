"""Where images come from and results go: arrays and files that are read and written in parts."""
