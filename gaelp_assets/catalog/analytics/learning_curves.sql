-- A bucket of 2,000 steps is two of training_progress. The constant date satisfies tables that insist on a filter.
WITH run_buckets AS (
  SELECT
    environment_id,
    agent_id,
    training_run_id,
    DIV(step_bucket, 2) * 2000 + 1000 AS step,
    SUM(sum_return) / SUM(episodes) AS run_mean_return,
    SUM(episodes) AS episodes
  FROM analytics.training_progress
  WHERE date >= DATE '2000-01-01'
  GROUP BY environment_id, agent_id, training_run_id, step
)
SELECT
  run_buckets.environment_id,
  agents.algorithm,
  run_buckets.agent_id,
  run_buckets.step,
  AVG(run_buckets.run_mean_return) AS mean_return,
  MIN(run_buckets.run_mean_return) AS low_return,
  MAX(run_buckets.run_mean_return) AS high_return,
  COUNT(*) AS runs,
  SUM(run_buckets.episodes) AS episodes
FROM run_buckets
-- An agent without a row of its own shows under its id.
LEFT JOIN training.agents AS agents ON agents.agent_id = run_buckets.agent_id
GROUP BY run_buckets.environment_id, agents.algorithm, run_buckets.agent_id, run_buckets.step
