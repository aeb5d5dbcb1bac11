-- Every run counts once, by its last evaluation. Random policies are the baseline, no attempt. Returns, bounds and scores beyond 1e100 count as
-- that much, so that their squares are numbers. The constant date satisfies tables that insist on a filter; evaluations are few.
WITH bounds AS (
  SELECT
    environment_id,
    normalisation_low AS low,
    normalisation_high AS high,
    LEAST(
      GREATEST(
        COALESCE(
          reward_threshold,
          LEAST(GREATEST(normalisation_low, -1e100), 1e100) * 0.1 + LEAST(GREATEST(normalisation_high, -1e100), 1e100) * 0.9
        ),
        -1e100
      ),
      1e100
    ) AS threshold
  FROM training.environments
),
measured AS (
  SELECT
    evaluations.environment_id,
    evaluations.agent_id,
    evaluations.training_run_id,
    evaluations.global_step,
    evaluations.evaluated_at,
    evaluations.evaluation_id,
    LEAST(GREATEST(evaluations.mean_return, -1e100), 1e100) AS mean_return,
    LEAST(GREATEST(COALESCE(evaluations.normalisation_low, bounds.low), -1e100), 1e100) AS low,
    LEAST(GREATEST(COALESCE(evaluations.normalisation_high, bounds.high), -1e100), 1e100) AS high,
    bounds.threshold,
    COALESCE(agents.algorithm = 'random', FALSE) AS is_random
  FROM training.evaluations AS evaluations
  LEFT JOIN bounds ON bounds.environment_id = evaluations.environment_id
  LEFT JOIN training.agents AS agents ON agents.agent_id = evaluations.agent_id
  WHERE evaluations.date >= DATE '2000-01-01'
),
scored AS (
  SELECT
    environment_id,
    agent_id,
    training_run_id,
    global_step,
    mean_return,
    threshold,
    is_random,
    LEAST(GREATEST(SAFE_DIVIDE(mean_return - low, high - low), -1e100), 1e100) AS score,
    ROW_NUMBER() OVER (
      PARTITION BY environment_id, training_run_id
      ORDER BY global_step DESC, evaluated_at DESC, evaluation_id
    ) AS age
  FROM measured
),
tried AS (
  SELECT
    environment_id,
    agent_id,
    training_run_id,
    is_random,
    MIN(threshold) AS threshold,
    MAX(score) AS best_score,
    MAX(mean_return) AS best_return,
    MAX(IF(age = 1, score, NULL)) AS score,
    MAX(IF(age = 1, mean_return, NULL)) AS mean_return,
    MIN(IF(mean_return >= threshold, global_step, NULL)) AS steps_to_threshold
  FROM scored
  GROUP BY environment_id, agent_id, training_run_id, is_random
),
medians AS (
  SELECT
    environment_id,
    agent_id,
    training_run_id,
    is_random,
    PERCENTILE_CONT(IF(is_random, NULL, score), 0.5) OVER (PARTITION BY environment_id) AS median_score,
    PERCENTILE_CONT(IF(is_random, NULL, steps_to_threshold), 0.5) OVER (PARTITION BY environment_id) AS median_steps
  FROM tried
),
agents AS (
  SELECT environment_id, agent_id, STDDEV_SAMP(score) AS score_stddev
  FROM tried
  WHERE NOT is_random
  GROUP BY environment_id, agent_id
),
spreads AS (
  SELECT environment_id, COUNT(*) AS agents, AVG(score_stddev) AS score_stddev
  FROM agents
  GROUP BY environment_id
)
SELECT
  tried.environment_id,
  COALESCE(MAX(spreads.agents), 0) AS agents,
  COUNTIF(NOT tried.is_random) AS runs,
  AVG(IF(tried.is_random, tried.mean_return, NULL)) AS random_return,
  AVG(IF(tried.is_random, tried.score, NULL)) AS random_score,
  MAX(IF(tried.is_random, NULL, tried.best_return)) AS best_return,
  MAX(IF(tried.is_random, NULL, tried.best_score)) AS best_score,
  MAX(medians.median_score) AS median_score,
  MIN(IF(tried.is_random, NULL, tried.score)) AS lowest_score,
  MAX(spreads.score_stddev) AS seed_stddev,
  MAX(tried.threshold) AS threshold_return,
  COUNTIF(NOT tried.is_random AND tried.steps_to_threshold IS NOT NULL)
    / NULLIF(COUNTIF(NOT tried.is_random AND tried.threshold IS NOT NULL), 0) AS reached_fraction,
  MAX(medians.median_steps) AS steps_to_threshold
FROM tried
JOIN medians
  ON medians.environment_id = tried.environment_id
  AND medians.training_run_id = tried.training_run_id
  AND medians.agent_id = tried.agent_id
LEFT JOIN spreads ON spreads.environment_id = tried.environment_id
GROUP BY tried.environment_id
