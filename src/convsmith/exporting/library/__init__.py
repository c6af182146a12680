"""A network as a C library, for programs without Python."""
