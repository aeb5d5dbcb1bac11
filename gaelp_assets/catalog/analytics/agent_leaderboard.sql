-- The interquartile mean leaves out the DIV(runs, 4) best and worst runs, as scipy.stats.trim_mean(scores, 0.25) does.
-- The constant date satisfies tables that insist on a filter; evaluations are few. Returns, bounds and scores beyond 1e290 count as that
-- much: a sum or difference of greater ones is an error that would end the leaderboard of everyone.
WITH recent AS (
  SELECT evaluations.*
  FROM training.evaluations AS evaluations
  CROSS JOIN (SELECT MAX(date) AS last_date FROM training.evaluations WHERE date >= DATE '2000-01-01') AS newest
  WHERE evaluations.date >= DATE '2000-01-01'
    AND evaluations.date > DATE_SUB(newest.last_date, INTERVAL 30 DAY)
),
latest AS (
  SELECT
    recent.environment_id,
    recent.agent_id,
    recent.training_run_id,
    recent.date,
    recent.global_step,
    LEAST(GREATEST(recent.mean_return, -1e290), 1e290) AS mean_return,
    LEAST(GREATEST(COALESCE(recent.normalisation_low, environments.normalisation_low), -1e290), 1e290) AS low,
    LEAST(GREATEST(COALESCE(recent.normalisation_high, environments.normalisation_high), -1e290), 1e290) AS high,
    ROW_NUMBER() OVER (
      PARTITION BY recent.environment_id, recent.training_run_id
      ORDER BY recent.global_step DESC, recent.evaluated_at DESC, recent.evaluation_id
    ) AS age
  FROM recent
  LEFT JOIN training.environments AS environments ON environments.environment_id = recent.environment_id
),
scored AS (
  SELECT
    environment_id,
    agent_id,
    training_run_id,
    date,
    global_step,
    mean_return,
    LEAST(GREATEST(SAFE_DIVIDE(mean_return - low, high - low), -1e290), 1e290) AS score
  FROM latest
  WHERE age = 1
),
ordered AS (
  SELECT
    environment_id,
    agent_id,
    date,
    global_step,
    mean_return,
    score,
    ROW_NUMBER() OVER (PARTITION BY environment_id, agent_id, score IS NULL ORDER BY score, training_run_id) AS place,
    COUNT(score) OVER (PARTITION BY environment_id, agent_id) AS score_count,
    ROW_NUMBER() OVER (PARTITION BY environment_id, agent_id ORDER BY mean_return, training_run_id) AS return_place,
    COUNT(*) OVER (PARTITION BY environment_id, agent_id) AS run_count
  FROM scored
),
scores AS (
  SELECT
    environment_id,
    agent_id,
    COUNT(*) AS runs,
    AVG(IF(place > DIV(score_count, 4) AND place <= score_count - DIV(score_count, 4), score, NULL)) AS iqm_score,
    AVG(score) AS mean_score,
    MIN(score) AS min_score,
    MAX(score) AS max_score,
    AVG(mean_return) AS mean_return,
    AVG(IF(return_place > DIV(run_count, 4) AND return_place <= run_count - DIV(run_count, 4), mean_return, NULL)) AS iqm_return,
    MAX(global_step) AS global_step,
    MAX(date) AS last_date
  FROM ordered
  GROUP BY environment_id, agent_id
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
  scores.environment_id,
  RANK() OVER (
    PARTITION BY scores.environment_id
    ORDER BY scores.iqm_score DESC, IF(scores.iqm_score IS NULL, scores.iqm_return, NULL) DESC
  ) AS rank,
  scores.agent_id,
  agents.algorithm,
  scores.runs,
  scores.iqm_score,
  scores.mean_score,
  scores.min_score,
  scores.max_score,
  scores.mean_return,
  scores.iqm_return,
  scores.global_step,
  scores.last_date,
  suspected.problem_runs
FROM scores
LEFT JOIN training.agents AS agents ON agents.agent_id = scores.agent_id
LEFT JOIN suspected ON suspected.environment_id = scores.environment_id AND suspected.agent_id = scores.agent_id
