"""Alembic's entry: runs the steps on the connection of `bring_up_to_date`, in its transaction."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
