"""What researchers ask of runs: statistics of scores, on NumPy and SciPy. Nothing here knows a file, a warehouse or Dagster."""
