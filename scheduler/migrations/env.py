"""Alembic runs this module: the revisions go over the connection that `pinflow.scheduler.schema` hands over."""

from alembic import context

from pinflow.scheduler.schema import VERSION_TABLE

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    version_table=VERSION_TABLE,
    transactional_ddl=connection.dialect.name == "sqlite",
    transaction_per_migration=True,
)
context.run_migrations()
