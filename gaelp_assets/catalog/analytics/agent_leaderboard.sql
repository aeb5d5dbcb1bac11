-- The interquartile mean leaves out the DIV(run_count, 4) best and worst runs, as scipy.stats.trim_mean(scores, 0.25) does.
-- The constant date satisfies tables that insist on a filter; evaluations are few.
WITH recent AS (
  SELECT evaluations.*
  FROM training.evaluations AS evaluations
  CROSS JOIN (SELECT MAX(date) AS last_date FROM training.evaluations WHERE date >= DATE '2000-01-01') AS newest
  WHERE evaluations.date >= DATE '2000-01-01'
    AND evaluations.date > DATE_SUB(newest.last_date, INTERVAL 30 DAY)
),
latest AS (
  SELECT
    environment_id,
    agent_id,
    training_run_id,
    date,
    global_step,
    mean_return,
    (mean_return - normalisation_low) / (normalisation_high - normalisation_low) AS score,
    ROW_NUMBER() OVER (PARTITION BY training_run_id ORDER BY global_step DESC, evaluated_at DESC, evaluation_id) AS age
  FROM recent
),
ordered AS (
  SELECT
    environment_id,
    agent_id,
    date,
    global_step,
    mean_return,
    score,
    ROW_NUMBER() OVER (PARTITION BY environment_id, agent_id ORDER BY score, training_run_id) AS place,
    COUNT(*) OVER (PARTITION BY environment_id, agent_id) AS run_count
  FROM latest
  WHERE age = 1
),
scores AS (
  SELECT
    environment_id,
    agent_id,
    COUNT(*) AS runs,
    AVG(IF(place > DIV(run_count, 4) AND place <= run_count - DIV(run_count, 4), score, NULL)) AS iqm_score,
    AVG(score) AS mean_score,
    MIN(score) AS min_score,
    MAX(score) AS max_score,
    AVG(mean_return) AS mean_return,
    MAX(global_step) AS global_step,
    MAX(date) AS last_date
  FROM ordered
  GROUP BY environment_id, agent_id
)
SELECT
  scores.environment_id,
  RANK() OVER (PARTITION BY scores.environment_id ORDER BY scores.iqm_score DESC) AS rank,
  scores.agent_id,
  agents.algorithm,
  scores.runs,
  scores.iqm_score,
  scores.mean_score,
  scores.min_score,
  scores.max_score,
  scores.mean_return,
  scores.global_step,
  scores.last_date
FROM scores
INNER JOIN training.agents AS agents ON agents.agent_id = scores.agent_id
