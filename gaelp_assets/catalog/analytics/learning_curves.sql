-- A bucket of 2,000 steps is two of training_progress. The constant date satisfies tables that insist on a filter.
-- A run that is over keeps its last value up to the end of its agent's longest run: the mean of those that are left would jump where a
-- bad run ends, and be that of the survivors.
WITH reached AS (
  SELECT
    environment_id,
    agent_id,
    training_run_id,
    DIV(step_bucket, 2) AS bucket,
    SUM(sum_return) / SUM(episodes) AS run_mean_return,
    SUM(episodes) AS episodes
  FROM analytics.training_progress
  WHERE date >= DATE '2000-01-01'
  GROUP BY environment_id, agent_id, training_run_id, bucket
),
runs AS (
  SELECT
    environment_id,
    agent_id,
    training_run_id,
    MIN(bucket) AS first_bucket,
    MAX(bucket) AS last_bucket
  FROM reached
  GROUP BY environment_id, agent_id, training_run_id
),
buckets AS (
  SELECT environment_id, agent_id, bucket, SUM(episodes) AS episodes
  FROM reached
  GROUP BY environment_id, agent_id, bucket
),
points AS (
  SELECT
    buckets.environment_id,
    buckets.agent_id,
    buckets.bucket,
    buckets.episodes,
    buckets.bucket BETWEEN runs.first_bucket AND runs.last_bucket AS is_there,
    LAST_VALUE(reached.run_mean_return IGNORE NULLS) OVER (
      PARTITION BY runs.environment_id, runs.agent_id, runs.training_run_id
      ORDER BY buckets.bucket
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS run_mean_return
  FROM buckets
  JOIN runs ON runs.environment_id = buckets.environment_id AND runs.agent_id = buckets.agent_id
  LEFT JOIN reached
    ON reached.environment_id = runs.environment_id
    AND reached.agent_id = runs.agent_id
    AND reached.training_run_id = runs.training_run_id
    AND reached.bucket = buckets.bucket
),
suspects AS (
  SELECT environment_id, agent_id, training_run_id
  FROM analytics.episode_problems
  WHERE date >= DATE '2000-01-01'
  UNION DISTINCT
  SELECT environment_id, agent_id, training_run_id
  FROM analytics.run_problems
  WHERE environment_id IS NOT NULL
),
suspected AS (
  SELECT environment_id, agent_id, COUNT(*) AS problem_runs
  FROM suspects
  GROUP BY environment_id, agent_id
)
SELECT
  points.environment_id,
  agents.algorithm,
  points.agent_id,
  points.bucket * 2000 + 1000 AS step,
  AVG(points.run_mean_return) AS mean_return,
  MIN(points.run_mean_return) AS low_return,
  MAX(points.run_mean_return) AS high_return,
  COUNTIF(points.is_there) AS runs,
  points.episodes,
  COUNT(*) AS runs_total,
  suspected.problem_runs
FROM points
-- An agent without a row of its own shows under its id.
LEFT JOIN training.agents AS agents ON agents.agent_id = points.agent_id
LEFT JOIN suspected ON suspected.environment_id = points.environment_id AND suspected.agent_id = points.agent_id
GROUP BY
  points.environment_id, agents.algorithm, points.agent_id, points.bucket, points.episodes, suspected.problem_runs
