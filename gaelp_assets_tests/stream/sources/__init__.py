"""Sources of streams, against real clients and servers in memory."""
