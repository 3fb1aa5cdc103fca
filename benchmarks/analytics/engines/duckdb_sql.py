"""DuckDB: one scan, ids as integers, then distinct users as a bitmask a user, a bit for each event type and app."""

import duckdb

from benchmarks.analytics.task import (
    ALL,
    COUNTS,
    EVENT_TYPES,
    ITEMS,
    NETWORKS,
    OTHER,
    RANKING,
    SUBJECTS,
    TOP,
    UNKNOWN,
    Task,
)

PINS = """
create table pins as
select *, row_number() over (order by pin_id)::integer as pin, dense_rank() over (order by board_id)::integer as board,
    dense_rank() over (order by domain_name)::integer as domain,
    dense_rank() over (order by profile_name)::integer as profile
from (
    select pin_id, board_id, owner_id as profile_name, lower(domain) as domain_name, search_score
    from read_json('{pins}', format = 'newline_delimited', columns = {{
        pin_id: 'varchar', board_id: 'varchar', owner_id: 'varchar', domain: 'varchar', search_score: 'double'}})
)
"""

SCAN = """
create table scanned as
select event_type as type, user_id, pin_id, app, country, metro, network
from read_json('{events}', format = 'newline_delimited', columns = {{
    event_type: 'varchar', timestamp: 'bigint', user_id: 'varchar', pin_id: 'varchar', app: 'varchar',
    country: 'varchar', metro: 'varchar', network: 'varchar'}})
where event_type in {types} and timestamp >= epoch(date '{day}') and timestamp < epoch(date '{day}' + 1)
"""

# Who has a country of their own has it in all events: their events need none.
EVENTS = """
create table users as
select row_number() over ()::integer as user, user_id, country, coalesce(gender, '{unknown}') as gender
from (select distinct user_id from scanned) left join read_json('{users}', format = 'newline_delimited', columns = {{
    user_id: 'varchar', country: 'varchar', gender: 'varchar'}}) using (user_id);

create table bits as
select type, app, 1::ubigint << (row_number() over () - 1) as bit from (select distinct type, app from scanned);

create table platforms as
select coalesce(app, '{all}') as platform, bit_or(bit) as bits, {bits_of_types}
from bits group by grouping sets ((app), ());

create table events as
select pin, domain, profile, user, type, app, network, bit, coalesce(e.metro, '{unknown}') as metro,
    if(u.country is null, coalesce(e.country, '{unknown}'), null) as country
from scanned e join pins using (pin_id) join users u using (user_id) join bits using (type, app)
"""

PIN_COUNTS = """
create table pin_counts as
with by_network as (select pin, app, type, network, count(*) as n from events group by all),
counted as (
    select pin, coalesce(app, '{all}') as platform, {counts} from by_network group by grouping sets ((pin, app), (pin))
)
select counted.*, domain, profile, if(board_id is null, null, board) as board, search_score as {ranking}
from counted join pins using (pin)
"""

USERS = """
create or replace table by_user as
with masks as (select {subject}, user, bit_or(bit) as mask from events group by {subject}, user)
select {subject}, country, gender, mask, count(*) as n from masks join users using (user) group by all;

create or replace table names as
select distinct {subject}, '{prefix}' || {subject}_name as subject from pins where {subject}_name is not null
"""

METRICS = """
with of_users as (
    select {subject}, platform, {users_of_types}, sum(n)::bigint as users
    from (select {subject}, mask, sum(n) as n from by_user group by all), platforms p
    where mask & p.bits <> 0 group by all
), of_items as (
    select {subject}, platform, {sums}, count(*) as pins, count(distinct board) as boards from pin_counts group by all
)
select subject, * exclude (subject, {subject})
from of_items join of_users using ({subject}, platform) join names using ({subject})
"""

AUDIENCE = """
with countries as (
    select {subject}, country, bit_or(bit) as mask from events where country is not null
    group by {subject}, country, user
), metros as (
    select {subject}, metro, bit_or(bit) as mask from events group by {subject}, metro, user
), by_mask as (
    select {subject}, 'gender' as dimension, gender as value, mask, sum(n) as n from by_user group by all
    union all
    select {subject}, 'country', country, mask, sum(n) from by_user where country is not null group by all
    union all
    select {subject}, 'country', country, mask, count(*) from countries group by all
    union all
    select {subject}, 'metro', metro, mask, count(*) from metros group by all
), counted as (
    select {subject}, platform, dimension, value, sum(n)::bigint as users
    from by_mask, platforms p where mask & p.bits <> 0 group by all
)
select 'a:' || subject as subject, platform, dimension, value, users from counted join names using ({subject})
"""

TOP_ITEMS = """
with items as (
    select {subject}, platform, {item}, {values}, max({ranking}) as {ranking}
    from pin_counts where {item} is not null group by all
), ranked as materialized (
    select *, row_number() over (partition by {subject}, platform, "by" order by value desc, {item}) as place
    from (unpivot items on {types}, {ranking} into name "by" value value)
    where value > 0 or "by" = '{ranking}'
), ids as (
    select distinct {item}, {item}_id as id from pins
), lists as (
    select {subject}, platform, "by", place as rank, id, value from ranked join ids using ({item}) where place <= {top}
    union all
    select {subject}, platform, "by", null, '{other}', sum(value) from ranked where place > {top} group by all
)
select subject, platform, '{item}s' as items, "by", rank, id, value from lists join names using ({subject})
"""


def compute(task: Task) -> None:
    """Write all tables of the day."""
    database = duckdb.connect()
    database.execute("set preserve_insertion_order = false")
    database.execute(PINS.format(pins=task.files("pins")))
    database.execute(SCAN.format(events=task.files("events"), day=task.day, types=EVENT_TYPES))
    bits = _each_type("bit_or(bit) filter (type = '{0}') as \"{0}\"")
    database.execute(EVENTS.format(users=task.files("users"), unknown=UNKNOWN, all=ALL, bits_of_types=bits))
    database.execute(PIN_COUNTS.format(all=ALL, counts=_each_count(), ranking=RANKING))
    for subject, prefix in SUBJECTS.items():
        database.execute(USERS.format(subject=subject, prefix=prefix))
        for name, query in _queries(subject).items():
            database.execute(f"copy ({query}) to '{task.table(name)}/part.parquet' (compression zstd)")


def _queries(subject: str) -> dict[str, str]:
    """The query of each table of one kind of subjects."""
    users = _each_type('coalesce(sum(n) filter (mask & p."{0}" <> 0), 0)::bigint as {0}_users')
    sums = ", ".join(f'sum("{name}")::bigint as "{name}"' for name in COUNTS)
    found = {
        f"{subject}_metrics": METRICS.format(subject=subject, users_of_types=users, sums=sums),
        f"{subject}_audience": AUDIENCE.format(subject=subject),
    }
    for items in ITEMS:
        found[f"{subject}_top_{items}"] = TOP_ITEMS.format(
            subject=subject,
            item=items.removesuffix("s"),
            values=_each_type('sum("{0}")::double as "{0}"'),
            types=_each_type('"{0}"'),
            ranking=RANKING,
            top=TOP,
            other=OTHER,
        )
    return found


def _each_type(expression: str) -> str:
    return ", ".join(expression.format(event) for event in EVENT_TYPES)


def _each_count() -> str:
    """Sums over `by_network` for the columns of `COUNTS`."""
    filters = {"": "", **{f"_{network}": f" and network = '{network}'" for network in NETWORKS}}
    return _each_type(
        ", ".join(
            f"coalesce(sum(n) filter (type = '{{0}}'{condition}), 0)::bigint as \"{{0}}{suffix}\""
            for suffix, condition in filters.items()
        )
    )


if __name__ == "__main__":
    compute(Task.from_arguments())
