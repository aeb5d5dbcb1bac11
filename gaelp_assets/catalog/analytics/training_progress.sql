-- Aggregates alone, without arithmetic on them, and a constant date for a table that insists on a filter: a materialized view that
-- the warehouse can keep incrementally.
SELECT
  date,
  environment_id,
  agent_id,
  training_run_id,
  DIV(global_step, 1000) AS step_bucket,
  COUNT(*) AS episodes,
  SUM(episode_length) AS steps,
  SUM(episode_return) AS sum_return,
  SUM(episode_return * episode_return) AS sum_squared_return,
  AVG(episode_return) AS mean_return,
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
