-- The constant dates satisfy tables that insist on a filter.
WITH returns AS (
  SELECT
    e.evaluation_id,
    COUNT(*) AS returns,
    MIN(r) AS least,
    MAX(r) AS most,
    SUM(IF(ABS(r) > 1e90, 0.0, r)) AS total,
    SUM(IF(ABS(r) > 1e90, 0.0, ABS(r))) AS amount,
    COUNTIF(ABS(r) > 1e90) AS great
  FROM training.evaluations AS e
  CROSS JOIN UNNEST(e.episode_returns) AS r
  WHERE e.date >= DATE '2000-01-01'
  GROUP BY e.evaluation_id
),
evaluations AS (
  SELECT
    e.evaluation_id,
    e.training_run_id,
    e.environment_id,
    e.agent_id,
    e.checkpoint_id,
    e.mean_return,
    e.min_return,
    e.max_return,
    e.episode_count,
    e.terminated_count,
    e.truncated_count,
    returns.returns,
    returns.least,
    returns.most,
    returns.total / returns.returns AS mean,
    returns.great,
    returns.amount / returns.returns AS amount
  FROM training.evaluations AS e
  LEFT JOIN returns ON returns.evaluation_id = e.evaluation_id
  WHERE e.date >= DATE '2000-01-01'
),
checkpoints AS (
  SELECT c.checkpoint_id, c.training_run_id, c.environment_id, c.agent_id, c.parent_checkpoint_id, c.global_step, c.created_at
  FROM training.checkpoints AS c
  WHERE c.date >= DATE '2000-01-01'
),
days AS (
  SELECT
    p.training_run_id,
    p.agent_id,
    p.date,
    MIN(p.step_bucket) AS first_bucket,
    MAX(p.step_bucket) AS last_bucket
  FROM analytics.training_progress AS p
  WHERE p.date >= DATE '2000-01-01'
  GROUP BY p.training_run_id, p.agent_id, p.date
),
steps AS (
  SELECT
    training_run_id,
    agent_id,
    first_bucket,
    MAX(last_bucket) OVER (
      PARTITION BY training_run_id, agent_id ORDER BY date ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS reached
  FROM days
),
fallen AS (
  SELECT training_run_id, MIN(agent_id) AS agent_id, MAX(reached) AS reached, MIN(first_bucket) AS first_bucket
  FROM steps
  WHERE first_bucket < reached
  GROUP BY training_run_id
),
problems AS (
  SELECT 'evaluation' AS subject, evaluation_id AS subject_id, 'mean_differs' AS problem,
    training_run_id, environment_id, agent_id, mean AS expected, mean_return AS found
  FROM evaluations
  WHERE great = 0 AND ABS(mean_return) <= 1e100 AND ABS(mean - mean_return) > 0.000001 * (amount + 1.0)
  UNION ALL
  SELECT 'evaluation', evaluation_id, 'min_differs', training_run_id, environment_id, agent_id, least, min_return
  FROM evaluations
  WHERE great = 0 AND ABS(min_return) <= 1e100 AND ABS(least - min_return) > 0.000001 * (amount + 1.0)
  UNION ALL
  SELECT 'evaluation', evaluation_id, 'max_differs', training_run_id, environment_id, agent_id, most, max_return
  FROM evaluations
  WHERE great = 0 AND ABS(max_return) <= 1e100 AND ABS(most - max_return) > 0.000001 * (amount + 1.0)
  UNION ALL
  SELECT 'evaluation', evaluation_id, 'count_differs',
    training_run_id, environment_id, agent_id, CAST(returns AS FLOAT64), CAST(episode_count AS FLOAT64)
  FROM evaluations
  WHERE returns <> episode_count
  UNION ALL
  SELECT 'evaluation', evaluation_id, 'endings_differ',
    training_run_id, environment_id, agent_id, CAST(episode_count AS FLOAT64), CAST(terminated_count AS FLOAT64) + CAST(truncated_count AS FLOAT64)
  FROM evaluations
  WHERE CAST(terminated_count AS FLOAT64) + CAST(truncated_count AS FLOAT64) <> CAST(episode_count AS FLOAT64)
  UNION ALL
  SELECT 'evaluation', e.evaluation_id, 'no_checkpoint',
    e.training_run_id, e.environment_id, e.agent_id, CAST(NULL AS FLOAT64), CAST(NULL AS FLOAT64)
  FROM evaluations AS e
  LEFT JOIN checkpoints AS c ON c.checkpoint_id = e.checkpoint_id
  WHERE e.checkpoint_id IS NOT NULL AND c.checkpoint_id IS NULL
  UNION ALL
  SELECT 'checkpoint', c.checkpoint_id, 'parent_missing',
    c.training_run_id, c.environment_id, c.agent_id, CAST(NULL AS FLOAT64), CAST(NULL AS FLOAT64)
  FROM checkpoints AS c
  LEFT JOIN checkpoints AS parent ON parent.checkpoint_id = c.parent_checkpoint_id
  WHERE c.parent_checkpoint_id IS NOT NULL AND parent.checkpoint_id IS NULL
  UNION ALL
  SELECT 'checkpoint', c.checkpoint_id, 'parent_later',
    c.training_run_id, c.environment_id, c.agent_id, CAST(c.global_step AS FLOAT64), CAST(parent.global_step AS FLOAT64)
  FROM checkpoints AS c
  INNER JOIN checkpoints AS parent ON parent.checkpoint_id = c.parent_checkpoint_id
  WHERE parent.global_step > c.global_step OR (parent.global_step = c.global_step AND parent.created_at >= c.created_at)
  UNION ALL
  SELECT 'run', f.training_run_id, 'steps_fall',
    f.training_run_id, CAST(NULL AS STRING), f.agent_id, CAST(f.reached AS FLOAT64) * 1000, CAST(f.first_bucket AS FLOAT64) * 1000
  FROM fallen AS f
)
SELECT subject, subject_id, problem, training_run_id, environment_id, agent_id, expected, found
FROM problems
