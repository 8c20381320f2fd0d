#!/bin/sh
# Run once by the database's container, when its database is made: the service's role owns its tables and is no
# superuser, so that row-level security holds it too. See docs/operating.md.
set -eu
psql --username "${POSTGRES_USER:-postgres}" --dbname postgres --set=ON_ERROR_STOP=1 \
    --set=password="$(cat /run/secrets/database_password)" <<'SQL'
CREATE ROLE crossmargin LOGIN PASSWORD :'password';
CREATE DATABASE crossmargin OWNER crossmargin;
SQL
