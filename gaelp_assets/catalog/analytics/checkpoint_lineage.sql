-- A run has thousands of checkpoints, and BigQuery ends a recursion after 500 rounds: it goes from stretch to stretch, not from checkpoint to
-- checkpoint. A stretch is a run's checkpoints, each of which follows the one before. The constant date satisfies tables that insist on a filter.
WITH RECURSIVE ordered AS (
  SELECT
    checkpoint_id,
    parent_checkpoint_id,
    training_run_id,
    environment_id,
    agent_id,
    date,
    global_step,
    created_at,
    COALESCE(
      parent_checkpoint_id
      <> LAG(checkpoint_id) OVER (PARTITION BY training_run_id ORDER BY global_step, created_at, checkpoint_id),
      TRUE
    ) AS starts
  FROM training.checkpoints
  WHERE date >= DATE '2000-01-01'
),
numbered AS (
  SELECT
    checkpoint_id,
    parent_checkpoint_id,
    training_run_id,
    environment_id,
    agent_id,
    date,
    global_step,
    starts,
    COUNTIF(starts) OVER (
      PARTITION BY training_run_id
      ORDER BY global_step, created_at, checkpoint_id
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS stretch,
    ROW_NUMBER() OVER (PARTITION BY training_run_id ORDER BY global_step, created_at, checkpoint_id) AS number
  FROM ordered
),
placed AS (
  SELECT
    checkpoint_id,
    parent_checkpoint_id,
    training_run_id,
    environment_id,
    agent_id,
    date,
    global_step,
    starts,
    stretch,
    number - MIN(number) OVER (PARTITION BY training_run_id, stretch) AS place
  FROM numbered
),
stretches AS (
  SELECT
    first.training_run_id,
    first.stretch,
    first.checkpoint_id,
    parents.training_run_id AS parent_run_id,
    parents.stretch AS parent_stretch,
    parents.place AS parent_place
  FROM placed AS first
  LEFT JOIN placed AS parents ON parents.checkpoint_id = first.parent_checkpoint_id
  WHERE first.starts
),
tree AS (
  SELECT
    training_run_id,
    stretch,
    checkpoint_id AS root_checkpoint_id,
    training_run_id AS root_run_id,
    0 AS generation,
    0 AS forks
  FROM stretches
  WHERE parent_run_id IS NULL
  UNION ALL
  SELECT
    stretches.training_run_id,
    stretches.stretch,
    tree.root_checkpoint_id,
    tree.root_run_id,
    tree.generation + stretches.parent_place + 1 AS generation,
    tree.forks + 1 AS forks
  FROM tree
  JOIN stretches ON stretches.parent_run_id = tree.training_run_id AND stretches.parent_stretch = tree.stretch
  WHERE tree.forks < 400
),
children AS (
  SELECT parent_checkpoint_id, COUNT(*) AS children
  FROM ordered
  WHERE parent_checkpoint_id IS NOT NULL
  GROUP BY parent_checkpoint_id
)
SELECT
  placed.checkpoint_id,
  placed.training_run_id,
  placed.environment_id,
  placed.agent_id,
  placed.date,
  placed.global_step,
  placed.parent_checkpoint_id,
  parents.training_run_id AS parent_run_id,
  IF(placed.parent_checkpoint_id IS NULL, NULL, parents.checkpoint_id IS NOT NULL) AS parent_is_known,
  tree.root_checkpoint_id,
  tree.root_run_id,
  tree.generation + placed.place AS generation,
  tree.forks,
  COALESCE(children.children, 0) AS children
FROM placed
LEFT JOIN placed AS parents ON parents.checkpoint_id = placed.parent_checkpoint_id
LEFT JOIN tree ON tree.training_run_id = placed.training_run_id AND tree.stretch = placed.stretch
LEFT JOIN children ON children.parent_checkpoint_id = placed.checkpoint_id
