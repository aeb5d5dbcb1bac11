-- A curve has 200 points at most: its bucket is a 200th of its steps. The constant date satisfies tables that insist on a filter.
-- What diverges gets near the greatest number, and a sum of such values is an error that would end the curves of everyone: the mean is
-- that of 2^40th parts, which has the same digits, and lies between the least and the greatest of them.
WITH measured AS (
  SELECT
    environment_id,
    agent_id,
    training_run_id,
    name,
    global_step,
    value,
    value / 1099511627776.0 AS part,
    DIV(MAX(global_step) OVER (PARTITION BY environment_id, training_run_id, name), 200) + 1 AS width
  FROM training.metrics
  WHERE date >= DATE '2000-01-01' AND value IS NOT NULL
)
SELECT
  environment_id,
  agent_id,
  training_run_id,
  name,
  DIV(global_step, width) AS bucket,
  MAX(global_step) AS step,
  LEAST(GREATEST(AVG(part), MIN(part)), MAX(part)) * 1099511627776.0 AS mean_value,
  MIN(value) AS low_value,
  MAX(value) AS high_value,
  COUNT(*) AS points
FROM measured
GROUP BY environment_id, agent_id, training_run_id, name, bucket
