"""What the speed claims rest on: medians and ratios to peers measured in the same run."""
