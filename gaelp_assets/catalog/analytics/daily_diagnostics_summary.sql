WITH sessions AS (
  SELECT
    s.date,
    s.equipment_category,
    COUNT(*) AS sessions,
    COUNT(DISTINCT s.user_pseudonym) AS users,
    COUNTIF(ARRAY_LENGTH(s.codes) = 0) AS sessions_without_codes,
    AVG(TIMESTAMP_DIFF(s.ended_at, s.started_at, SECOND) / 60) AS mean_minutes
  FROM diagnostics.diagnostic_sessions AS s
  WHERE s.date >= DATE '2000-01-01'
  GROUP BY s.date, s.equipment_category
),
codes AS (
  SELECT s.date, s.equipment_category, COUNT(*) AS codes, COUNT(DISTINCT c.code) AS distinct_codes
  FROM diagnostics.diagnostic_sessions AS s
  CROSS JOIN UNNEST(s.codes) AS c
  WHERE s.date >= DATE '2000-01-01'
  GROUP BY s.date, s.equipment_category
)
SELECT
  sessions.date,
  sessions.equipment_category,
  sessions.sessions,
  sessions.users,
  COALESCE(codes.codes, 0) AS codes,
  COALESCE(codes.distinct_codes, 0) AS distinct_codes,
  sessions.sessions_without_codes,
  sessions.mean_minutes
FROM sessions
LEFT JOIN codes ON codes.date = sessions.date AND codes.equipment_category = sessions.equipment_category
