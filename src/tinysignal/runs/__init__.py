"""What is done with a run folder, from Python and from the command line."""
