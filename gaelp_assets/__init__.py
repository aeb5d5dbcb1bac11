"""The data platform of GAELP: NDJSON from the export gateway, proved row by row, in a warehouse, on screen."""
