-- The variance from sums can fall below zero by rounding, hence GREATEST.
SELECT
  date,
  environment_id,
  agent_id,
  COUNT(DISTINCT training_run_id) AS runs,
  SUM(episodes) AS episodes,
  SUM(steps) AS steps,
  SUM(sum_return) / SUM(episodes) AS mean_return,
  SQRT(
    GREATEST(SUM(sum_squared_return) - SUM(sum_return) * SUM(sum_return) / SUM(episodes), 0.0)
    / NULLIF(SUM(episodes) - 1, 0)
  ) AS return_stddev,
  MIN(min_return) AS min_return,
  MAX(max_return) AS max_return,
  SUM(steps) / SUM(episodes) AS mean_length,
  SUM(terminated_episodes) / NULLIF(SUM(known_endings), 0) AS terminated_fraction,
  SUM(truncated_episodes) / NULLIF(SUM(known_endings), 0) AS truncated_fraction
FROM analytics.training_progress
GROUP BY date, environment_id, agent_id
