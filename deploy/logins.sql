-- Makes a login for each process. A login has no rights of its own: a process
-- takes those of its role when it connects, and nobody else's. Run it as a
-- superuser on the server of the log and on that of the read model, after
-- `command-api migrate` and `projector migrate` have made the roles:
--
--   psql -v ON_ERROR_STOP=1 -v command_password=… -v projector_password=… -v query_password=… \
--        -f deploy/logins.sql "$EVENTLOG_DATABASE_URL"
--
-- Running it again changes passwords and nothing else.

SELECT format('CREATE ROLE %I LOGIN NOINHERIT', login)
  FROM unnest(ARRAY['command_api', 'projector', 'query_api']) AS login
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = login)
\gexec

ALTER ROLE command_api PASSWORD :'command_password';
ALTER ROLE projector PASSWORD :'projector_password';
ALTER ROLE query_api PASSWORD :'query_password';

GRANT customer_command TO command_api;
GRANT customer_projector TO projector;
GRANT customer_query TO query_api;
