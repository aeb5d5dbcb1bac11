"""What arrives as a stream."""
