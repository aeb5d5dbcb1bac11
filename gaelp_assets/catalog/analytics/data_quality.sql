WITH batches AS (
  SELECT
    CONCAT(l.dataset, '.', l.`table`) AS relation,
    COALESCE(l.slice_date, DATE(l.loaded_at)) AS date,
    l.slice_date IS NOT NULL AS sliced,
    IF(l.mode = 'sort', l.rejected, l.`lines`) AS line_count,
    l.loaded,
    l.rejected,
    TIMESTAMP_DIFF(l.loaded_at, TIMESTAMP(DATE_ADD(l.slice_date, INTERVAL 1 DAY)), SECOND) / 3600 AS lag_hours
  FROM ops.import_logs AS l
  WHERE IF(l.mode = 'sort', l.rejected, l.`lines`) > 0
),
days AS (
  SELECT
    relation,
    date,
    SUM(line_count) AS line_count,
    SUM(rejected) AS rejected,
    SUM(IF(sliced, loaded, 0)) AS sliced_rows,
    SUM(IF(sliced AND lag_hours <= 24, loaded, 0)) AS timely_rows,
    MIN(lag_hours) AS lag_hours
  FROM batches
  GROUP BY relation, date
),
runs_of_days AS (
  SELECT
    relation,
    date,
    LAG(date, 6) OVER (PARTITION BY relation ORDER BY date) = DATE_SUB(date, INTERVAL 6 DAY) AS ends_a_week,
    LEAD(date) OVER (PARTITION BY relation ORDER BY date) AS next_date,
    MAX(date) OVER () AS newest
  FROM days
),
told AS (
  SELECT relation, date, line_count, rejected, sliced_rows, timely_rows, lag_hours
  FROM days
  UNION ALL
  SELECT relation, DATE_ADD(date, INTERVAL 1 DAY), 0, 0, 0, 0, NULL
  FROM runs_of_days
  WHERE ends_a_week
    AND COALESCE(next_date, newest) > DATE_ADD(date, INTERVAL 1 DAY)
),
letters AS (
  SELECT
    CONCAT(d.dataset, '.', d.`table`) AS relation,
    COALESCE(d.slice_date, DATE(d.rejected_at)) AS date,
    EXISTS (SELECT 1 FROM UNNEST(d.reasons) AS r WHERE r.rule IN ('missing_field', 'any_given')) AS incomplete,
    EXISTS (SELECT 1 FROM UNNEST(d.reasons) AS r WHERE r.rule = 'key_conflict') AS conflicting,
    EXISTS (
      SELECT 1
      FROM UNNEST(d.reasons) AS r
      WHERE r.rule IN ('compare', 'utc_day', 'when', 'any_true', 'not_both', 'wrong_slice', 'date_out_of_range')
    ) AS inconsistent,
    EXISTS (
      SELECT 1
      FROM UNNEST(d.reasons) AS r
      WHERE r.rule IN (
        'in_range', 'isin', 'equal_to', 'not_equal_to', 'greater_than', 'greater_than_or_equal_to', 'less_than',
        'less_than_or_equal_to', 'finite', 'not_finite'
      )
    ) AS implausible
  FROM ops.dead_letter AS d
  WHERE d.rejected_at >= TIMESTAMP '2000-01-01 00:00:00+00'
),
faults AS (
  SELECT
    relation,
    date,
    COUNT(*) AS letters,
    COUNTIF(incomplete) AS incomplete,
    COUNTIF(conflicting) AS conflicting,
    COUNTIF(inconsistent) AS inconsistent,
    COUNTIF(implausible) AS implausible
  FROM letters
  GROUP BY relation, date
),
pairs AS (
  SELECT
    told.relation,
    told.date,
    before.line_count,
    before.lag_hours,
    before.rejected / before.line_count AS rejected_share,
    PERCENTILE_CONT(before.line_count, 0.5) OVER (PARTITION BY told.relation, told.date) AS line_median,
    PERCENTILE_CONT(before.lag_hours, 0.5) OVER (PARTITION BY told.relation, told.date) AS lag_median,
    PERCENTILE_CONT(before.rejected / before.line_count, 0.5) OVER (PARTITION BY told.relation, told.date) AS rejected_median
  FROM told
  INNER JOIN days AS before
    ON before.relation = told.relation
    AND before.date < told.date
    AND before.date >= DATE_SUB(told.date, INTERVAL 28 DAY)
),
deviations AS (
  SELECT
    relation,
    date,
    line_median,
    lag_median,
    rejected_median,
    PERCENTILE_CONT(ABS(line_count - line_median), 0.5) OVER (PARTITION BY relation, date) AS line_deviation,
    PERCENTILE_CONT(ABS(lag_hours - lag_median), 0.5) OVER (PARTITION BY relation, date) AS lag_deviation,
    PERCENTILE_CONT(ABS(rejected_share - rejected_median), 0.5) OVER (PARTITION BY relation, date) AS rejected_deviation
  FROM pairs
),
usual AS (
  SELECT
    relation,
    date,
    COUNT(*) AS days_before,
    MIN(line_median) AS line_median,
    MIN(lag_median) AS lag_median,
    MIN(rejected_median) AS rejected_median,
    MIN(line_deviation) AS line_deviation,
    MIN(lag_deviation) AS lag_deviation,
    MIN(rejected_deviation) AS rejected_deviation
  FROM deviations
  GROUP BY relation, date
),
scored AS (
  SELECT
    told.date,
    told.relation,
    told.line_count,
    told.rejected,
    told.sliced_rows,
    told.timely_rows,
    told.lag_hours,
    COALESCE(faults.letters, 0) >= told.rejected AS is_known,
    COALESCE(faults.incomplete, 0) AS incomplete,
    COALESCE(faults.conflicting, 0) AS conflicting,
    COALESCE(faults.inconsistent, 0) AS inconsistent,
    COALESCE(faults.implausible, 0) AS implausible,
    COALESCE(usual.days_before, 0) AS days_before,
    IF(
      usual.days_before >= 7,
      0.6745 * (told.line_count - usual.line_median) / GREATEST(usual.line_deviation, 0.01 * usual.line_median),
      NULL
    ) AS volume_z,
    IF(
      usual.days_before >= 7,
      0.6745 * (told.lag_hours - usual.lag_median) / GREATEST(usual.lag_deviation, 0.25),
      NULL
    ) AS lag_z,
    IF(
      usual.days_before >= 7,
      0.6745 * (told.rejected / NULLIF(told.line_count, 0) - usual.rejected_median) / GREATEST(usual.rejected_deviation, 0.01),
      NULL
    ) AS rejected_z
  FROM told
  LEFT JOIN faults ON faults.relation = told.relation AND faults.date = told.date
  LEFT JOIN usual ON usual.relation = told.relation AND usual.date = told.date
)
SELECT
  date,
  relation,
  line_count AS `lines`,
  rejected,
  IF(is_known, GREATEST(1 - incomplete / NULLIF(line_count, 0), 0), NULL) AS completeness,
  1 - rejected / NULLIF(line_count, 0) AS validity,
  IF(is_known, GREATEST(1 - conflicting / NULLIF(line_count, 0), 0), NULL) AS uniqueness,
  IF(is_known, GREATEST(1 - inconsistent / NULLIF(line_count, 0), 0), NULL) AS consistency,
  IF(is_known, GREATEST(1 - implausible / NULLIF(line_count, 0), 0), NULL) AS accuracy,
  timely_rows / NULLIF(sliced_rows, 0) AS timeliness,
  lag_hours,
  days_before,
  volume_z,
  lag_z,
  rejected_z,
  IF(
    days_before >= 7,
    line_count = 0 OR COALESCE(ABS(volume_z) > 3.5, FALSE) OR COALESCE(lag_z > 3.5, FALSE) OR COALESCE(rejected_z > 3.5, FALSE),
    NULL
  ) AS unusual
FROM scored
