"""What everything stands on: parameters, modes of a thread, random numbers, checks, files."""
