-- Of the episodes themselves: sums of squares lose a spread that is small beside the returns. A sum of returns near the greatest number
-- is an error that would end everyone's day: the mean is that of 2^40th parts, which has the same digits; beyond 1e150, whose square is
-- near that number, deviations are computed in units of 1e200.
SELECT
  date,
  environment_id,
  agent_id,
  COUNT(DISTINCT training_run_id) AS runs,
  COUNT(*) AS episodes,
  SUM(episode_length) AS steps,
  LEAST(
    GREATEST(AVG(episode_return / 1099511627776.0), MIN(episode_return / 1099511627776.0)),
    MAX(episode_return / 1099511627776.0)
  ) * 1099511627776.0 AS mean_return,
  IF(
    MAX(ABS(episode_return)) <= 1e150,
    STDDEV_SAMP(LEAST(GREATEST(episode_return, -1e150), 1e150)),
    STDDEV_SAMP(LEAST(GREATEST(episode_return, -1e308), 1e308) / 1e200) * 1e200
  ) AS return_stddev,
  MIN(episode_return) AS min_return,
  MAX(episode_return) AS max_return,
  SUM(episode_length) / COUNT(*) AS mean_length,
  COUNTIF(terminated AND truncated IS NOT NULL)
    / NULLIF(COUNTIF(terminated IS NOT NULL AND truncated IS NOT NULL), 0) AS terminated_fraction,
  COUNTIF(truncated AND terminated IS NOT NULL)
    / NULLIF(COUNTIF(terminated IS NOT NULL AND truncated IS NOT NULL), 0) AS truncated_fraction
FROM training.episodes
WHERE purpose = 'training' AND unfinished IS NOT TRUE AND date >= DATE '2000-01-01'
GROUP BY date, environment_id, agent_id
