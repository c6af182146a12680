"""From layers to blocks of kernels: a file for each kind, which says what it refuses and lowers."""
