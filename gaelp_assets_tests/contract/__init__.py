"""What every implementation of a protocol must keep, in one suite for all of them."""
