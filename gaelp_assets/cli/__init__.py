"""The command line `gaelp`: parses arguments and prints results, nothing more. What a command does is elsewhere."""
