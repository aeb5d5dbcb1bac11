-- Device hours and cost are the run's, in the environment that it is trained in; rows and bytes are where they were recorded, which may be
-- another one. The constant date satisfies tables that insist on a filter.
WITH parts AS (
  SELECT
    training_run_id,
    environment_id,
    agent_id,
    device_hours,
    cost_usd,
    0 AS stored_rows,
    0.0 AS file_bytes,
    0.0 AS transition_bytes,
    FALSE AS lacks_bytes,
    DATE(started_at) AS first_date,
    DATE(COALESCE(finished_at, updated_at)) AS last_date
  FROM training.training_runs
  UNION ALL
  SELECT
    training_run_id,
    environment_id,
    agent_id,
    NULL AS device_hours,
    NULL AS cost_usd,
    stored_rows,
    COALESCE(file_bytes, 0.0) AS file_bytes,
    IF(source_table = 'transitions', COALESCE(file_bytes, 0.0), 0.0) AS transition_bytes,
    file_bytes IS NULL AS lacks_bytes,
    date AS first_date,
    date AS last_date
  FROM analytics.run_storage
  WHERE date >= DATE '2000-01-01'
),
sums AS (
  SELECT
    training_run_id,
    environment_id,
    MIN(agent_id) AS agent_id,
    SUM(device_hours) AS device_hours,
    SUM(cost_usd) AS cost_usd,
    SUM(stored_rows) AS stored_rows,
    IF(LOGICAL_OR(lacks_bytes), NULL, SUM(file_bytes)) AS file_bytes,
    IF(LOGICAL_OR(lacks_bytes), NULL, SUM(transition_bytes)) AS transition_bytes,
    MIN(first_date) AS first_date,
    MAX(last_date) AS last_date
  FROM parts
  GROUP BY training_run_id, environment_id
)
SELECT
  sums.training_run_id,
  sums.environment_id,
  sums.agent_id,
  agents.algorithm,
  JSON_VALUE(runs.config, '$.team') AS team,
  sums.device_hours,
  sums.cost_usd,
  sums.stored_rows,
  CAST(ROUND(sums.file_bytes) AS INT64) AS file_bytes,
  CAST(ROUND(sums.transition_bytes) AS INT64) AS transition_bytes,
  sums.first_date,
  sums.last_date
FROM sums
LEFT JOIN training.training_runs AS runs ON runs.training_run_id = sums.training_run_id
LEFT JOIN training.agents AS agents ON agents.agent_id = sums.agent_id
