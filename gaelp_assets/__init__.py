"""The data platform of GAELP: NDJSON from the export gateway, validated row by row, in a warehouse, on screen."""
