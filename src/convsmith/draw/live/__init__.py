"""The live stage: linked maps on a page that answers when a cell is touched."""
