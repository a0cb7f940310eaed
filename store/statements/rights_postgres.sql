-- Reads what the server permits the current user: the rights on the tables, the limits on connections (-1: none), and the other connections.
-- The two limits of the role and of the database do not apply to a superuser.
SELECT current_user AS name, current_database() AS database, COALESCE(current_schema(), '') AS schema,
	COALESCE(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create,
	COALESCE((SELECT bool_and(has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE')
		AND has_table_privilege(c.oid, 'DELETE'))
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = current_schema() AND c.relkind = 'r' AND c.relname IN ('runs', 'steps', 'settings', 'merchants')), true) AS may_write,
	(SELECT CASE WHEN rolsuper THEN -1 ELSE rolconnlimit END FROM pg_roles WHERE rolname = current_user) AS role_limit,
	(SELECT CASE WHEN r.rolsuper THEN -1 ELSE datconnlimit END FROM pg_database, pg_roles r
		WHERE datname = current_database() AND r.rolname = current_user) AS database_limit,
	current_setting('max_connections')::int
		- (SELECT CASE WHEN rolsuper THEN 0 ELSE current_setting('superuser_reserved_connections')::int END FROM pg_roles WHERE rolname = current_user)
		AS server_limit,
	(SELECT count(*) FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid()) AS of_role,
	(SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()) AS in_database,
	(SELECT count(*) FROM pg_stat_activity WHERE usename IS NOT NULL AND pid <> pg_backend_pid()) AS in_all
