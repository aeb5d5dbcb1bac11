WITH lags AS (
  SELECT date, 'training.episodes' AS relation, TIMESTAMP_DIFF(_loaded_at, ended_at, SECOND) / 60 AS minutes
  FROM training.episodes
  WHERE date >= DATE '2000-01-01'
  UNION ALL
  SELECT date, 'training.evaluations', TIMESTAMP_DIFF(_loaded_at, evaluated_at, SECOND) / 60
  FROM training.evaluations
  WHERE date >= DATE '2000-01-01'
  UNION ALL
  SELECT date, 'training.checkpoints', TIMESTAMP_DIFF(_loaded_at, created_at, SECOND) / 60
  FROM training.checkpoints
  WHERE date >= DATE '2000-01-01'
  UNION ALL
  SELECT date, 'training.metrics', TIMESTAMP_DIFF(_loaded_at, measured_at, SECOND) / 60
  FROM training.metrics
  WHERE date >= DATE '2000-01-01'
  UNION ALL
  SELECT date, 'diagnostics.diagnostic_sessions', TIMESTAMP_DIFF(_loaded_at, started_at, SECOND) / 60
  FROM diagnostics.diagnostic_sessions
  WHERE date >= DATE '2000-01-01'
),
ranked AS (
  SELECT
    date,
    relation,
    minutes,
    PERCENTILE_CONT(minutes, 0.5) OVER (PARTITION BY date, relation) AS median_minutes,
    PERCENTILE_CONT(minutes, 0.95) OVER (PARTITION BY date, relation) AS p95_minutes
  FROM lags
)
SELECT
  date,
  relation,
  COUNT(*) AS row_count,
  MIN(median_minutes) AS median_minutes,
  MIN(p95_minutes) AS p95_minutes,
  MAX(minutes) AS max_minutes,
  COUNTIF(minutes < 0) AS early_rows
FROM ranked
GROUP BY date, relation
