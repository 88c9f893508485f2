"""PostgreSQL tells every node that listens when there is work, in the transaction that makes it so."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"

_FUNCTIONS = (
    """
    CREATE FUNCTION mcads_ring_work() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_notify('mcads_work', '');
        RETURN NULL;
    END $$
    """,
    """
    CREATE FUNCTION mcads_ring_deliveries() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_notify('mcads_deliveries', NEW.destination);
        RETURN NULL;
    END $$
    """,
)
# what nobody may do yet rings when it is let go; who defers a delivery knows that it did
_TRIGGERS = (
    """
    CREATE TRIGGER mcads_ring AFTER INSERT OR UPDATE OF state, held_until, due_at, latest_at ON workitems
    FOR EACH ROW WHEN (NEW.state = 'SCHEDULED' AND NEW.held_until IS NULL)
    EXECUTE FUNCTION mcads_ring_work()
    """,
    """
    CREATE TRIGGER mcads_ring AFTER INSERT OR UPDATE OF state ON deliveries
    FOR EACH ROW WHEN (NEW.state = 'PENDING')
    EXECUTE FUNCTION mcads_ring_deliveries()
    """,
)


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for statement in (*_FUNCTIONS, *_TRIGGERS):
        op.execute(statement)
