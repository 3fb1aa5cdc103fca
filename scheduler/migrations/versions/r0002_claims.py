"""Claims that cost the same however many jobs are ready, and however many claims there were.

The row of `fence` has a name as its key, since a key that changes with every claim leaves dead rows to be walked over;
`job.turn` is the order of claims in one number, so that an index finds the next.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_FENCE = sa.table("fence", sa.column("name"), sa.column("last"))
_TURN = "position - priority * 1000000 - CASE kind WHEN 'condition' THEN 1000000000000000 ELSE 0 END"


def upgrade() -> None:
    """Make both changes; an upgrade that was stopped in between begins with what it left."""
    connection = op.get_bind()
    _change_fence(connection)
    if "turn" not in {column["name"] for column in sa.inspect(connection).get_columns("job")}:
        op.add_column("job", sa.Column("turn", sa.BigInteger, nullable=False, server_default="0"))
    op.execute(f"UPDATE job SET turn = {_TURN}")
    if any(index["name"] == "job_claim" for index in sa.inspect(connection).get_indexes("job")):
        op.drop_index("job_claim", "job")
    op.create_index("job_claim", "job", ["run_id", "state", "turn"])


def _change_fence(connection: sa.Connection) -> None:
    if "fence_before" not in sa.inspect(connection).get_table_names():
        op.rename_table("fence", "fence_before")
    op.execute("DROP TABLE IF EXISTS fence")
    op.create_table(
        "fence",
        sa.Column("name", sa.String(16), primary_key=True),
        sa.Column("last", sa.BigInteger, nullable=False),
    )
    highest = connection.scalar(sa.text("SELECT max(last) FROM fence_before"))
    op.execute(_FENCE.insert().values(name="claims", last=highest))
    op.drop_table("fence_before")
