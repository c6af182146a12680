"""The scenes: one file each, with its words, its gallery entries and its command."""
