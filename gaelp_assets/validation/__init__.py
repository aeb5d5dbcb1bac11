"""What a relation's rows must be like: catalogue -> Polars, Arrow and Pandera schemas, and verdicts with reasons."""
