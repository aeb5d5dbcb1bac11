"""What a warehouse holds against what the catalogue wants: the model, the difference, and the remedy of each refusal."""
