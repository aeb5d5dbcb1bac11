-- A run's row tells of the whole run: what it has used is spread evenly over the hours from its start to its end, or to its last report.
-- Its training steps are those of the episodes that ended on the day. The constant date satisfies tables that insist on a filter.
WITH spans AS (
  SELECT
    training_run_id,
    agent_id,
    environment_id,
    device,
    device_count,
    device_hours,
    cost_usd,
    started_at,
    GREATEST(COALESCE(finished_at, updated_at), started_at) AS ended_at
  FROM training.training_runs
  WHERE status IS NULL OR status <> 'queued'
),
days AS (
  SELECT
    spans.training_run_id,
    spans.agent_id,
    spans.environment_id,
    spans.device,
    spans.device_count,
    spans.device_hours,
    spans.cost_usd,
    day AS date,
    TIMESTAMP_DIFF(spans.ended_at, spans.started_at, MICROSECOND) AS run_time,
    TIMESTAMP_DIFF(
      LEAST(spans.ended_at, TIMESTAMP(DATE_ADD(day, INTERVAL 1 DAY))), GREATEST(spans.started_at, TIMESTAMP(day)), MICROSECOND
    ) AS day_time
  FROM spans
  CROSS JOIN UNNEST(
    -- A moment that is wrong by centuries would make a row for each of their days.
    GENERATE_DATE_ARRAY(
      DATE(spans.started_at),
      IF(
        DATE_DIFF(DATE(spans.ended_at), DATE(spans.started_at), DAY) > 1100,
        DATE_ADD(DATE(spans.started_at), INTERVAL 1100 DAY),
        DATE(spans.ended_at)
      )
    )
  ) AS day
),
shares AS (
  SELECT
    training_run_id,
    agent_id,
    environment_id,
    device,
    device_count,
    date,
    day_time / 3600000000 AS wall_hours,
    device_hours * IF(run_time = 0, 1.0, day_time / NULLIF(run_time, 0)) AS device_hours,
    CAST(cost_usd AS FLOAT64) * IF(run_time = 0, 1.0, day_time / NULLIF(run_time, 0)) AS cost_usd
  FROM days
  -- A run that ends at midnight has no time on the day that begins then.
  WHERE day_time > 0 OR run_time = 0
),
steps AS (
  SELECT
    training_run_id,
    MIN(agent_id) AS agent_id,
    environment_id,
    date,
    SUM(steps) AS steps,
    SUM(episodes) AS episodes
  FROM analytics.training_progress
  WHERE date >= DATE '2000-01-01'
  GROUP BY training_run_id, environment_id, date
)
SELECT
  COALESCE(shares.date, steps.date) AS date,
  COALESCE(shares.environment_id, steps.environment_id) AS environment_id,
  COALESCE(shares.agent_id, steps.agent_id) AS agent_id,
  COALESCE(shares.training_run_id, steps.training_run_id) AS training_run_id,
  shares.device,
  shares.device_count,
  shares.wall_hours,
  shares.device_hours,
  SAFE_DIVIDE(shares.device_hours, shares.wall_hours * shares.device_count) AS utilisation,
  steps.steps,
  steps.episodes,
  SAFE_DIVIDE(steps.steps, shares.device_hours) AS steps_per_device_hour,
  SAFE_DIVIDE(steps.steps, shares.wall_hours) AS steps_per_wall_hour,
  shares.cost_usd
FROM shares
FULL JOIN steps
  ON steps.training_run_id = shares.training_run_id
  AND steps.environment_id = shares.environment_id
  AND steps.date = shares.date
