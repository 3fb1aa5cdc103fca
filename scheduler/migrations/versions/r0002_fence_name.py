"""The row of `fence` has a name as its key: a key that changes with every claim leaves dead rows to be walked over."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_NEW = sa.table("fence", sa.column("name"), sa.column("last"))


def upgrade() -> None:
    """Make the table again with its one row; an upgrade that was stopped in between begins with what it left."""
    there = sa.inspect(op.get_bind()).get_table_names()
    if "fence_before" not in there:
        op.rename_table("fence", "fence_before")
    op.execute("DROP TABLE IF EXISTS fence")
    op.create_table(
        "fence",
        sa.Column("name", sa.String(16), primary_key=True),
        sa.Column("last", sa.BigInteger, nullable=False),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )
    highest = sa.text("SELECT max(last) FROM fence_before")
    op.execute(_NEW.insert().values(name="claims", last=op.get_bind().scalar(highest)))
    op.drop_table("fence_before")
