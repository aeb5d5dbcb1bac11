-- The constant date satisfies tables that insist on a filter; evaluations and checkpoints are few. Returns, bounds and scores beyond 1e290
-- count as that much in scores: a difference of greater ones is an error.
WITH ranked AS (
  SELECT
    evaluations.training_run_id,
    evaluations.environment_id,
    evaluations.agent_id,
    evaluations.checkpoint_id,
    evaluations.evaluation_id,
    evaluations.date,
    evaluations.global_step,
    evaluations.episode_count,
    evaluations.mean_return,
    LEAST(GREATEST(COALESCE(evaluations.normalisation_low, environments.normalisation_low), -1e290), 1e290) AS low,
    LEAST(GREATEST(COALESCE(evaluations.normalisation_high, environments.normalisation_high), -1e290), 1e290) AS high,
    FIRST_VALUE(evaluations.mean_return) OVER (
      PARTITION BY evaluations.training_run_id, evaluations.environment_id
      ORDER BY evaluations.global_step DESC, evaluations.evaluated_at DESC, evaluations.evaluation_id
    ) AS last_return,
    COUNT(*) OVER (PARTITION BY evaluations.training_run_id, evaluations.environment_id) AS evaluations,
    ROW_NUMBER() OVER (
      PARTITION BY evaluations.training_run_id, evaluations.environment_id
      ORDER BY evaluations.mean_return DESC, evaluations.global_step, evaluations.evaluated_at, evaluations.evaluation_id
    ) AS place
  FROM training.evaluations AS evaluations
  LEFT JOIN training.environments AS environments ON environments.environment_id = evaluations.environment_id
  WHERE evaluations.date >= DATE '2000-01-01' AND evaluations.checkpoint_id IS NOT NULL
)
SELECT
  ranked.training_run_id,
  ranked.environment_id,
  ranked.agent_id,
  ranked.checkpoint_id,
  ranked.evaluation_id,
  ranked.date,
  ranked.global_step,
  ranked.mean_return,
  LEAST(
    GREATEST(
      SAFE_DIVIDE(LEAST(GREATEST(ranked.mean_return, -1e290), 1e290) - ranked.low, ranked.high - ranked.low), -1e290
    ),
    1e290
  ) AS score,
  ranked.episode_count,
  ranked.evaluations,
  ranked.last_return,
  checkpoints.uri,
  checkpoints.format,
  checkpoints.bytes,
  checkpoints.sha256
FROM ranked
LEFT JOIN (
  SELECT
    saved.checkpoint_id,
    saved.uri,
    saved.format,
    saved.bytes,
    saved.sha256
  FROM training.checkpoints AS saved
  WHERE saved.date >= DATE '2000-01-01'
) AS checkpoints
  ON checkpoints.checkpoint_id = ranked.checkpoint_id
WHERE ranked.place = 1
