"""Mathematical functions that several layers share."""
