"""From operations of the graph to blocks of kernels."""
