"""Which neighbours in a Sequential run as one step, and how."""
