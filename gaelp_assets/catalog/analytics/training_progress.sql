-- Aggregates alone, without arithmetic on them, and a constant date for a table that insists on a filter: a materialized view that
-- the warehouse can keep incrementally. Returns that are beyond 1e290, or 1e145 where they are squared, count as that much: a sum of
-- greater ones is an error that would end the views of everyone.
SELECT
  date,
  environment_id,
  agent_id,
  training_run_id,
  DIV(global_step, 1000) AS step_bucket,
  COUNT(*) AS episodes,
  SUM(episode_length) AS steps,
  SUM(LEAST(GREATEST(episode_return, -1e290), 1e290)) AS sum_return,
  SUM(
    LEAST(GREATEST(episode_return, -1e145), 1e145) * LEAST(GREATEST(episode_return, -1e145), 1e145)
  ) AS sum_squared_return,
  AVG(LEAST(GREATEST(episode_return, -1e290), 1e290)) AS mean_return,
  MIN(episode_return) AS min_return,
  MAX(episode_return) AS max_return,
  AVG(episode_length) AS mean_length,
  COUNTIF(terminated) AS terminated_episodes,
  COUNTIF(truncated) AS truncated_episodes,
  COUNTIF(terminated IS NOT NULL AND truncated IS NOT NULL) AS known_endings,
  MIN(global_step) AS first_global_step,
  MAX(global_step) AS last_global_step
FROM training.episodes
WHERE purpose = 'training' AND unfinished IS NOT TRUE AND date >= DATE '2000-01-01'
GROUP BY date, environment_id, agent_id, training_run_id, step_bucket
