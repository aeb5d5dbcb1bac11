"""Files to blocks of lines: decompression, line ends, byte offsets, and JSON arrays as lines."""
