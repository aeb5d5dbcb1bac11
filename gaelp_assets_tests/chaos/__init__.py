"""Kills, races, full disks and damaged files: whatever happens on the way, the end is that of one clean load."""
