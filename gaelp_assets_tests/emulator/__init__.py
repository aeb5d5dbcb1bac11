"""What only a server can show: jobs, faults, and the shape of what is made in it."""
