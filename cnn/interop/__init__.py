"""Models and weights from other libraries, and for them."""
