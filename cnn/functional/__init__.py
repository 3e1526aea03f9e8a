"""Plain mathematics that several layers share."""
