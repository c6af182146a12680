"""Programs of kernel calls, their memory, and the threads that run them."""
