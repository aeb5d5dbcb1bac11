WITH told AS (
  SELECT
    spaces.environment_id,
    spaces.problem,
    place,
    spaces.lows[SAFE_OFFSET(IF(ARRAY_LENGTH(spaces.lows) = 1, 0, place))] AS low,
    spaces.highs[SAFE_OFFSET(IF(ARRAY_LENGTH(spaces.highs) = 1, 0, place))] AS high,
    spaces.type NOT IN ('Box', 'Dict', 'Tuple') AS whole
  FROM (
    SELECT
      environment_id,
      'observation_outside' AS problem,
      observation_space_type AS type,
      observation_size AS size,
      observation_low AS lows,
      observation_high AS highs
    FROM training.environments
    UNION ALL
    SELECT environment_id, 'action_outside', action_space_type, action_size, action_low, action_high
    FROM training.environments
    WHERE action_count IS NULL
  ) AS spaces
  CROSS JOIN UNNEST(GENERATE_ARRAY(0, spaces.size - 1)) AS place
  WHERE spaces.size <= 1000 AND ARRAY_LENGTH(spaces.lows) > 0 AND ARRAY_LENGTH(spaces.highs) > 0
),
bounds AS (
  -- What is greater is no bound. Numbers of Box spaces are often float32 where they were made, and rounded where they are written.
  SELECT
    environment_id,
    problem,
    place,
    whole,
    IF(ABS(low) < 1e300, low - IF(whole, 0.0, (ABS(low) + 1.0) * 0.000001), NULL) AS lowest,
    IF(ABS(high) < 1e300, high + IF(whole, 0.0, (ABS(high) + 1.0) * 0.000001), NULL) AS highest
  FROM told
  WHERE ABS(low) < 1e300 OR ABS(high) < 1e300
),
outside AS (
  SELECT t.date, t.environment_id, t.episode_id, bounds.problem, t.training_run_id, t.agent_id
  FROM training.transitions AS t
  JOIN bounds ON bounds.environment_id = t.environment_id AND bounds.problem = 'observation_outside'
  WHERE t.date >= DATE '2000-01-01'
    AND (
      t.observation[SAFE_OFFSET(bounds.place)] < bounds.lowest
      OR t.observation[SAFE_OFFSET(bounds.place)] > bounds.highest
      OR t.final_observation[SAFE_OFFSET(bounds.place)] < bounds.lowest
      OR t.final_observation[SAFE_OFFSET(bounds.place)] > bounds.highest
      OR (
        bounds.whole
        AND (
          t.observation[SAFE_OFFSET(bounds.place)] <> FLOOR(t.observation[SAFE_OFFSET(bounds.place)])
          OR t.final_observation[SAFE_OFFSET(bounds.place)] <> FLOOR(t.final_observation[SAFE_OFFSET(bounds.place)])
        )
      )
    )
  UNION ALL
  SELECT t.date, t.environment_id, t.episode_id, bounds.problem, t.training_run_id, t.agent_id
  FROM training.transitions AS t
  JOIN bounds ON bounds.environment_id = t.environment_id AND bounds.problem = 'action_outside'
  WHERE t.date >= DATE '2000-01-01'
    AND (
      t.action[SAFE_OFFSET(bounds.place)] < bounds.lowest
      OR t.action[SAFE_OFFSET(bounds.place)] > bounds.highest
      OR (bounds.whole AND t.action[SAFE_OFFSET(bounds.place)] <> FLOOR(t.action[SAFE_OFFSET(bounds.place)]))
    )
),
-- Each episode's steps, summed up once. Rewards so great that their sum could overflow are left out of the sums, and the sums then not compared.
steps AS (
  SELECT
    t.date,
    t.environment_id,
    t.episode_id,
    MIN(t.training_run_id) AS training_run_id,
    MIN(t.agent_id) AS agent_id,
    COUNT(*) AS steps,
    MIN(t.step_index) AS first_step,
    MAX(t.step_index) AS last_step,
    COUNTIF(t.terminated OR t.truncated) AS ends,
    MIN(IF(t.terminated OR t.truncated, t.step_index, NULL)) AS first_end,
    LOGICAL_OR(t.terminated) AS terminated,
    LOGICAL_OR(t.truncated) AS truncated,
    COUNTIF(ABS(t.reward) > 1e90) AS great_rewards,
    SUM(IF(ABS(t.reward) > 1e90, 0.0, t.reward)) AS reward_sum,
    SUM(IF(ABS(t.reward) > 1e90, 0.0, ABS(t.reward))) AS reward_amount,
    SUM(IF(ABS(t.reward) > 1e90, 0.0, t.reward * POW(agents.gamma, CAST(t.step_index AS FLOAT64)))) AS discounted_sum,
    COUNTIF(
      (ARRAY_LENGTH(t.observation) <> 0 AND ARRAY_LENGTH(t.observation) <> environments.observation_size)
      OR (ARRAY_LENGTH(t.final_observation) <> 0 AND ARRAY_LENGTH(t.final_observation) <> environments.observation_size)
    ) AS wrong_observations,
    COUNTIF(ARRAY_LENGTH(t.action) <> environments.action_size) AS wrong_actions,
    COUNTIF(
      environments.action_count IS NOT NULL
      AND (
        t.action[SAFE_OFFSET(0)] < environments.first_action
        OR t.action[SAFE_OFFSET(0)] >= CAST(environments.first_action AS FLOAT64) + CAST(environments.action_count AS FLOAT64)
        OR t.action[SAFE_OFFSET(0)] <> FLOOR(t.action[SAFE_OFFSET(0)])
      )
    ) AS actions_outside
  FROM training.transitions AS t
  LEFT JOIN (
    SELECT
      environment_id,
      observation_size,
      action_size,
      action_count,
      COALESCE(SAFE_CAST(JSON_VALUE(action_space, '$.start') AS INT64), 0) AS first_action
    FROM training.environments
  ) AS environments ON environments.environment_id = t.environment_id
  LEFT JOIN (
    SELECT
      agent_id,
      IF(gamma BETWEEN 0.0 AND 1.0, gamma, NULL) AS gamma
    FROM (
      SELECT agent_id, SAFE_CAST(JSON_VALUE(hyperparameters, '$.gamma') AS FLOAT64) AS gamma
      FROM training.agents
    )
  ) AS agents ON agents.agent_id = t.agent_id
  WHERE t.date >= DATE '2000-01-01'
  GROUP BY t.date, t.environment_id, t.episode_id
),
compared AS (
  SELECT
    steps.*,
    episodes.episode_return,
    episodes.discounted_return,
    episodes.episode_length,
    episodes.episode_id IS NOT NULL AND NOT COALESCE(episodes.unfinished, FALSE) AS finished,
    steps.great_rewards = 0 AND ABS(episodes.episode_return) <= 1e100 AS summable,
    episodes.terminated AS episode_terminated,
    episodes.truncated AS episode_truncated
  FROM steps
  LEFT JOIN (
    SELECT e.date, e.environment_id, e.episode_id, e.episode_return, e.discounted_return, e.episode_length, e.unfinished,
      e.terminated, e.truncated
    FROM training.episodes AS e
    WHERE e.date >= DATE '2000-01-01'
  ) AS episodes
    ON episodes.date = steps.date AND episodes.environment_id = steps.environment_id AND episodes.episode_id = steps.episode_id
),
problems AS (
  SELECT date, environment_id, episode_id, training_run_id, agent_id,
    'steps_missing' AS problem, CAST(last_step AS FLOAT64) + 1.0 AS expected, CAST(steps AS FLOAT64) AS found
  FROM compared
  WHERE first_step <> 0 OR CAST(last_step AS FLOAT64) + 1.0 <> CAST(steps AS FLOAT64)
  UNION ALL
  SELECT date, environment_id, episode_id, training_run_id, agent_id, 'no_single_end', 1.0, CAST(ends AS FLOAT64)
  FROM compared
  WHERE ends > 1 OR (finished AND ends = 0)
  UNION ALL
  SELECT date, environment_id, episode_id, training_run_id, agent_id,
    'step_after_end', CAST(first_end AS FLOAT64), CAST(last_step AS FLOAT64)
  FROM compared
  WHERE first_end < last_step
  UNION ALL
  SELECT date, environment_id, episode_id, training_run_id, agent_id, 'return_differs', reward_sum, episode_return
  FROM compared
  WHERE summable AND ABS(reward_sum - episode_return) > 0.000001 * (reward_amount + 1.0)
  UNION ALL
  SELECT date, environment_id, episode_id, training_run_id, agent_id, 'discounted_return_differs', discounted_sum, discounted_return
  FROM compared
  WHERE summable AND ABS(discounted_return) <= 1e100 AND ABS(discounted_sum - discounted_return) > 0.000001 * (reward_amount + 1.0)
  UNION ALL
  SELECT date, environment_id, episode_id, training_run_id, agent_id,
    'length_differs', CAST(steps AS FLOAT64), CAST(episode_length AS FLOAT64)
  FROM compared
  WHERE steps <> episode_length
  UNION ALL
  SELECT date, environment_id, episode_id, training_run_id, agent_id, 'ending_differs', CAST(NULL AS FLOAT64), CAST(NULL AS FLOAT64)
  FROM compared
  WHERE finished AND (terminated <> episode_terminated OR truncated <> episode_truncated)
  UNION ALL
  SELECT date, environment_id, episode_id, training_run_id, agent_id, 'observation_size', 0.0, CAST(wrong_observations AS FLOAT64)
  FROM compared
  WHERE wrong_observations > 0
  UNION ALL
  SELECT date, environment_id, episode_id, training_run_id, agent_id, 'action_size', 0.0, CAST(wrong_actions AS FLOAT64)
  FROM compared
  WHERE wrong_actions > 0
  UNION ALL
  SELECT date, environment_id, episode_id, training_run_id, agent_id, 'action_outside', 0.0, CAST(actions_outside AS FLOAT64)
  FROM compared
  WHERE actions_outside > 0
  UNION ALL
  SELECT date, environment_id, episode_id, MIN(training_run_id), MIN(agent_id), problem, 0.0, CAST(COUNT(*) AS FLOAT64)
  FROM outside
  GROUP BY date, environment_id, episode_id, problem
)
SELECT date, environment_id, episode_id, problem, training_run_id, agent_id, expected, found
FROM problems
