-- Stores samples, and marks their hours as due. @samples, @series and @hours are JSON arrays. Samples of projects that no run has made or
-- adopted are not stored. The result contains the number of new samples, and the rows of foreign_meters for the other samples, as JSON.
--
-- The rows of each table are written in the order of their keys, so that two statements cannot lock each other out.
WITH given AS MATERIALIZED (
	SELECT * FROM json_to_recordset(CAST(@samples AS json)) AS g (
		cloud text, day int, id text, series_id text, project_id text, meter text, at bigint, volume text
	)
), ours AS MATERIALIZED (
	SELECT DISTINCT g.cloud, g.project_id FROM (SELECT DISTINCT cloud, project_id FROM given) g
	JOIN objects o ON o.id = g.project_id AND o.cloud = g.cloud AND o.kind = 'project' AND o.id NOT LIKE '%/%'
), added AS (
	INSERT INTO samples (cloud, day, id, series_id, at, volume)
	SELECT g.cloud, g.day, g.id, g.series_id, g.at, g.volume FROM given g JOIN ours USING (cloud, project_id)
	ORDER BY g.cloud, g.day, g.id ON CONFLICT DO NOTHING RETURNING 1
), new_series AS (
	-- ON CONFLICT locks and writes each row that exists already, so the rows that do not change are left out first.
	INSERT INTO series AS known (id, cloud, source, project_id, resource_id, meter, kind, unit, last_day)
	SELECT s.id, s.cloud, s.source, s.project_id, s.resource_id, s.meter, s.kind, s.unit, s.last_day
	FROM json_populate_recordset(NULL::series, CAST(@series AS json)) s JOIN ours USING (cloud, project_id)
	WHERE NOT EXISTS (SELECT 1 FROM series k WHERE k.id = s.id AND k.last_day >= s.last_day)
	ORDER BY s.id
	ON CONFLICT (id) DO UPDATE SET last_day = excluded.last_day WHERE known.last_day < excluded.last_day
), due AS (
	INSERT INTO usage_due (cloud, project_id, hour)
	SELECT h.cloud, h.project_id, h.hour
	FROM json_populate_recordset(NULL::usage_due, CAST(@hours AS json)) h JOIN ours USING (cloud, project_id)
	ORDER BY h.cloud, h.project_id, h.hour ON CONFLICT DO NOTHING
), theirs AS (
	SELECT g.cloud, g.meter, g.at FROM given g LEFT JOIN ours USING (cloud, project_id) WHERE ours.project_id IS NULL
), meters AS (
	SELECT cloud, meter, count(*) AS samples, min(at) AS first_at, max(at) AS last_at FROM theirs GROUP BY cloud, meter
)
SELECT (SELECT count(*) FROM added) AS stored, (SELECT COALESCE(json_agg(m), '[]') FROM meters m) AS dropped
