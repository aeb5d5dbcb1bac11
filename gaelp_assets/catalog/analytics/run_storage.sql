-- A file's bytes are divided by its lines. The constant date satisfies tables that insist on a filter.
WITH counted AS (
  SELECT date, environment_id, training_run_id, agent_id, 'checkpoints' AS source_table, _batch_id, COUNT(*) AS stored
  FROM training.checkpoints
  WHERE date >= DATE '2000-01-01'
  GROUP BY date, environment_id, training_run_id, agent_id, _batch_id
  UNION ALL
  SELECT date, environment_id, training_run_id, agent_id, 'episodes' AS source_table, _batch_id, COUNT(*) AS stored
  FROM training.episodes
  WHERE date >= DATE '2000-01-01'
  GROUP BY date, environment_id, training_run_id, agent_id, _batch_id
  UNION ALL
  SELECT date, environment_id, training_run_id, agent_id, 'evaluations' AS source_table, _batch_id, COUNT(*) AS stored
  FROM training.evaluations
  WHERE date >= DATE '2000-01-01'
  GROUP BY date, environment_id, training_run_id, agent_id, _batch_id
  UNION ALL
  SELECT date, environment_id, training_run_id, agent_id, 'metrics' AS source_table, _batch_id, COUNT(*) AS stored
  FROM training.metrics
  WHERE date >= DATE '2000-01-01'
  GROUP BY date, environment_id, training_run_id, agent_id, _batch_id
  UNION ALL
  SELECT date, environment_id, training_run_id, agent_id, 'transitions' AS source_table, _batch_id, COUNT(*) AS stored
  FROM training.transitions
  WHERE date >= DATE '2000-01-01'
  GROUP BY date, environment_id, training_run_id, agent_id, _batch_id
)
SELECT
  counted.date,
  counted.environment_id,
  counted.training_run_id,
  counted.agent_id,
  counted.source_table,
  SUM(counted.stored) AS stored_rows,
  SUM(counted.stored * batches.bytes / NULLIF(batches.lines, 0)) AS file_bytes
FROM counted
LEFT JOIN ops.import_logs AS batches
  ON batches.batch_id = counted._batch_id
  AND batches.dataset = 'training'
  AND batches.table = counted.source_table
  AND batches.slice_date = counted.date
  AND batches.slice_environment = counted.environment_id
GROUP BY
  counted.date,
  counted.environment_id,
  counted.training_run_id,
  counted.agent_id,
  counted.source_table
