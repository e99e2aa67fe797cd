-- Two roles on PostgreSQL: the owner changes the schema (`tracker migrate`), the runner reads and writes rows and nothing else.
-- Run as a superuser in the database of Trackwright, once; then let `tracker migrate` connect as trackwright_owner and the roles
-- that run (web, worker, scheduler, up) as trackwright_run. Give both a password or a certificate of your own.
CREATE ROLE trackwright_owner LOGIN;
CREATE ROLE trackwright_run LOGIN;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO trackwright_owner;
GRANT USAGE ON SCHEMA public TO trackwright_run;
ALTER DEFAULT PRIVILEGES FOR ROLE trackwright_owner IN SCHEMA public
  GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO trackwright_run;
ALTER DEFAULT PRIVILEGES FOR ROLE trackwright_owner IN SCHEMA public
  GRANT USAGE, SELECT ON SEQUENCES TO trackwright_run;
